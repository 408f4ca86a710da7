"""What is trained, at which learning rate: the base model's weights or adapters on them, the thought's own parameters.

    optimizer = optimizer_of(model, settings)         # each of its groups has a `name` and its `full_rate`

A rate of 0 trains nothing of its group, and keeps no gradient and no moments for it.
"""

from __future__ import annotations

from typing import Any

import torch

from isoflop.errors import SpecError
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.training.lora import put_adapters
from isoflop.quietstar.training.settings import Training
from isoflop.runtime.optimizers import MuonAdamW, muon_groups

WEIGHT_DECAY = 0.001


def optimizer_of(model: ThoughtModel, settings: Training) -> torch.optim.Optimizer:
    """Of all that is trained."""
    groups = groups_of(model, settings)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    base = muon_groups(model.base.named_parameters(), settings.rate_of_base, "base ")
    return MuonAdamW([*base, *({**group, "muon": False} for group in groups[1:])], weight_decay=WEIGHT_DECAY)


def groups_of(model: ThoughtModel, settings: Training) -> list[dict[str, Any]]:
    """Groups of parameters, set to keep a gradient; all others are frozen. Adapters are put on where wanted."""
    parameters = model.thought_parameters
    rank, rate = settings.lora_rank, settings.rate_of_base
    adapters = put_adapters(model.base, rank, settings.seed) if rank and rate else None
    groups = {"base": (list(model.base.parameters()) if adapters is None else adapters, rate)}
    if settings.recipe != "distilled":
        groups |= {
            "vectors": ([parameters.start_embedding, parameters.end_embedding], settings.vector_rate),
            "head": (list(parameters.talk_head.parameters()), settings.head_rate),
        }
        if settings.gate_rate:
            groups["gate"] = (list(parameters.add_gate().parameters()), settings.gate_rate)
    model.requires_grad_(False)
    trained: list[dict[str, Any]] = [
        {"name": name, "params": found, "lr": rate, "full_rate": rate} for name, (found, rate) in groups.items() if rate
    ]
    for group in trained:
        for parameter in group["params"]:
            parameter.requires_grad_(True)
    if not trained:
        raise SpecError("every learning rate is 0; give one that is not, or there is nothing to train")
    return trained


def rate_share(step: int, settings: Training) -> float:
    """Linear warm-up, then linear decay to the last step."""
    return min((step + 1) / max(1, settings.warmup_steps), (settings.steps - step) / settings.steps)
