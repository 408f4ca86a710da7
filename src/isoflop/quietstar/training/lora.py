"""Low-rank adapters for a base model that is too large to train whole (peft), and the way back to ordinary weights.

    put_adapters(model.base, rank=16, seed=0)
    state = plain_state(model.base)               # names and shapes as before, adapters added to the weights

Only the adapters are trained, in float32; the base stays in its own dtype and is never merged in place, which would
round it a little each time. Hu et al. 2021 (LoRA, arXiv 2106.09685).
"""

from __future__ import annotations

from typing import Any

import torch

from isoflop.errors import MissingExtraError
from isoflop.runtime.workers import whole

ADAPTER = "default"


def put_adapters(base: Any, rank: int, seed: int) -> list[torch.nn.Parameter]:
    """Put adapters on every linear layer but the output head; the parameters to train are returned."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("adapters need the package `peft`: pip install 'isoflop[train]'") from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # as many times the rank as is usual: the step size then depends little on the rank
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"), base)
    found = [value for name, value in base.named_parameters() if ".lora_" in name]
    for value in found:
        value.data = value.data.float()
    return found


@torch.no_grad()
def plain_state(base: Any, keep: bool = True) -> dict[str, torch.Tensor]:
    """All weights, whole and on the CPU, under the names that the plain model has. Workers that hold parts have to ask
    together; one that does not `keep` them gets none."""
    found: dict[int, torch.Tensor] = {}  # weights that are tied stay one tensor
    state = {}
    for name, value in base.state_dict(keep_vars=True).items():
        if ".lora_" not in name:
            weight = found[id(value)] if id(value) in found else whole(value.detach())
            state[name.replace(".base_layer.", ".")] = found[id(value)] = weight.cpu() if keep else weight.new_empty(0)
    for name, layer in base.named_modules():
        if hasattr(layer, "lora_A"):
            down, up = (whole(part[ADAPTER].weight).float().cpu() for part in (layer.lora_A, layer.lora_B))
            added = up @ down * layer.scaling[ADAPTER]
            if keep:
                weight = state[f"{name}.weight"]
                state[f"{name}.weight"] = (weight + (added.T if layer.fan_in_fan_out else added)).to(weight.dtype)
    return state if keep else {}
