"""A head folder's read-out: a linear map of final hidden states, which an engine applies to what it computes anyway.

A head folder holds `config.json` (`format`, `hidden_size`, and `trunk`: the model that the head was trained on) and
`model.safetensors` (`weight` [K, D], `bias` [K], and whatever its user adds). It is not a model: what the numbers mean
is for the reader to say (`rewards/head_folder.py`).

    read = load_readout("path/to/head", hidden_size=896, model="path/to/model")
    read(hidden_RD)                                 # [R, K], in float32

Legend: R positions read, D hidden size, K numbers read at each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from isoflop.embedded import PREFIX, model_folder
from isoflop.errors import ModelError
from isoflop.runtime.runner import Readout

FORMAT = 1
CONFIG, TENSORS = "config.json", "model.safetensors"


def load_readout(folder: str, *, hidden_size: int, model: str, device: torch.device | str = "cpu") -> Readout:
    """The read-out of a head folder, for that model, on its device. Raises ModelError where they do not fit."""
    config, tensors = read_head_folder(folder)
    if config["hidden_size"] != hidden_size:
        raise ModelError(
            f"the head {folder!r} reads hidden states of {config['hidden_size']} numbers, those of "
            f"{config['trunk']!r}, and those of {model!r} have {hidden_size}: a head reads the model it was trained on"
        )
    if _short(config["trunk"]) != _short(model):
        raise ModelError(
            f"the head {folder!r} was trained on {config['trunk']!r} and reads nothing sensible from {model!r}; use "
            f"that model, or, if it is the same under another name, set trunk in {Path(folder) / CONFIG} to {model!r}"
        )
    weight_KD, bias_K = tensors["weight"].float().to(device), tensors["bias"].float().to(device)

    def read(hidden_RD: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(hidden_RD.float(), weight_KD, bias_K)

    return read


def _short(model: str) -> str:
    """A model's name without where it is kept: a hub id, a folder of that model and an embedded one are the same."""
    return model.rstrip("/").rpartition("/")[2].removeprefix(PREFIX).lower()


def read_head_folder(folder: str) -> tuple[Mapping[str, Any], Mapping[str, torch.Tensor]]:
    """Config and tensors of a head folder. Raises ModelError where it is none or of another format."""
    place = Path(model_folder(folder)).expanduser()
    for name in (CONFIG, TENSORS):
        if not (place / name).is_file():
            found = f"the folder {folder!r} has no {name}" if place.is_dir() else f"there is no folder {folder!r}"
            raise ModelError(f"{found}: a head folder holds {CONFIG} and {TENSORS}, as written by the head's training")
    try:
        config, tensors = json.loads((place / CONFIG).read_text()), load_file(place / TENSORS)
    except (ValueError, SafetensorError) as error:
        raise ModelError(f"the head folder {folder!r} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT or not {"hidden_size", "trunk"} <= config.keys():
        raise ModelError(
            f"{place / CONFIG} does not describe a head: it holds format={FORMAT}, hidden_size and trunk, "
            f"and this one {str(config)[:100]}"
        )
    shapes = {name: tuple(tensors[name].shape) for name in ("weight", "bias") if name in tensors}
    if len(shapes) < 2 or shapes["weight"] != (*shapes["bias"], config["hidden_size"]):
        raise ModelError(
            f"{place / TENSORS} holds {shapes}; wanted weight (K, {config['hidden_size']}), bias (K,) as in {CONFIG}"
        )
    return config, tensors
