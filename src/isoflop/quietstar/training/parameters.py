"""What is trained, at which learning rate: the base model's weights or adapters on them, the thought's own parameters.

    choose_trained(model, settings)                   # adapters are put on, all that is not trained is frozen
    module = ...                                      # workers may cut the model here
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


def choose_trained(model: ThoughtModel, settings: Training) -> None:
    """Put adapters and a gate on where they are wanted, and freeze all that is not trained."""
    adapted = bool(settings.lora_rank and settings.rate_of_base)
    adapters = put_adapters(model.base, settings.lora_rank, settings.seed) if adapted else []
    if settings.gate_rate:
        model.thought_parameters.add_gate()
    model.requires_grad_(False)
    for name, (parameters, rate) in _parts(model, settings).items():
        for parameter in adapters if name == "base" and adapted else parameters:
            parameter.requires_grad_(rate > 0)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SpecError("every learning rate is 0; give one that is not, or there is nothing to train")


def optimizer_of(model: ThoughtModel, settings: Training) -> torch.optim.Optimizer:
    """Of all that is trained."""
    groups: list[dict[str, Any]] = []
    for name, (parameters, rate) in _parts(model, settings).items():
        if found := [parameter for parameter in parameters if parameter.requires_grad]:
            groups.append({"name": name, "params": found, "lr": rate, "full_rate": rate})
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    base = muon_groups(model.base.named_parameters(), settings.rate_of_base, "base ")
    return MuonAdamW([*base, *({**group, "muon": False} for group in groups[1:])], weight_decay=WEIGHT_DECAY)


def _parts(model: ThoughtModel, settings: Training) -> dict[str, tuple[list[torch.nn.Parameter], float]]:
    """Parameters that learn at one rate, by name."""
    thought = model.thought_parameters
    parts = {"base": (list(model.base.parameters()), settings.rate_of_base)}
    if settings.recipe != "distilled":
        parts |= {
            "vectors": ([thought.start_embedding, thought.end_embedding], settings.vector_rate),
            "head": (list(thought.talk_head.parameters()), settings.head_rate),
        }
        if thought.gate_head is not None and settings.gate_rate:
            parts["gate"] = (list(thought.gate_head.parameters()), settings.gate_rate)
    return parts


def rate_share(step: int, settings: Training) -> float:
    """Linear warm-up, then linear decay to the last step."""
    return min((step + 1) / max(1, settings.warmup_steps), (settings.steps - step) / settings.steps)
