"""Low-rank adapters for a base model that is too large to train whole (peft), and the way back to ordinary weights.

    put_adapters(model.base, rank=16, seed=0)
    state = merged_state(model.base)              # names and shapes as before, adapters added to the weights

Only the adapters are trained, in float32; the base stays in its own dtype and is never merged in place, which would
round it a little each time. Hu et al. 2021 (LoRA, arXiv 2106.09685).
"""

from __future__ import annotations

from typing import Any

import torch

from isoflop.errors import MissingExtraError

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
def merged_state(base: Any) -> dict[str, torch.Tensor] | None:
    """All weights under the names that the plain model has; None where there are no adapters."""
    layers = {name: module for name, module in base.named_modules() if hasattr(module, "lora_A")}
    if not layers:
        return None
    state = {
        name.replace(".base_layer.", "."): value for name, value in base.state_dict().items() if ".lora_" not in name
    }
    for name, layer in layers.items():
        weight = layer.get_base_layer().weight
        state[f"{name}.weight"] = (weight.float() + layer.get_delta_weight(ADAPTER).float()).to(weight.dtype)
    return state
