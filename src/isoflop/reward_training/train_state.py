"""Checkpoints of a training: whole or not there, and the same for any number of workers, sharded or not.

A checkpoint holds the trained weights, the optimizer's numbers and the place in the data; nothing else changes, as the
data's order follows from the seed and nothing is drawn. Frozen weights are not in it. Weights and optimizer are whole
tensors by name (torch's own state dicts), so that one process goes on with what two have written, and the other way.

    save_state(folder, workers, model, optimizer, progress)
    progress = load_state(folder, workers, model, optimizer)          # None where there is no checkpoint
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from isoflop.reward_training.epochs import Epoch

WEIGHTS, OPTIMIZER, PROGRESS = "weights.safetensors", "optimizer.pt", "progress.json"


@dataclass(slots=True)
class Progress:
    """`updates` of this training, of which `done` are of the epoch that is open; `logits` by example, as they were in
    this epoch when it was trained on; `log` has a line for each update."""

    updates: int = 0
    done: int = 0
    logits: dict[int, list[float]] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    best_logits: dict[int, list[float]] = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """By name, on the CPU; complete on the first worker. All workers have to ask together."""
    named = get_model_state_dict(model, options=_options())
    return {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}


def save_state(folder: Path, workers: Any, model: Any, optimizer: Any, progress: Progress) -> None:
    """All workers have to call it together; the first one writes."""
    weights = trained_weights(model)
    numbers = get_optimizer_state_dict(model, optimizer, options=_options())
    if workers.is_main_process:
        aside = folder / "unfinished"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        save_weights(aside / WEIGHTS, weights)
        torch.save(numbers, aside / OPTIMIZER)
        (aside / PROGRESS).write_text(json.dumps(asdict(progress)))
        older = [path for path in folder.glob("update-*") if path.name != _name(progress)]
        shutil.rmtree(folder / _name(progress), ignore_errors=True)
        os.replace(aside, folder / _name(progress))
        for path in older:
            shutil.rmtree(path)
    workers.wait_for_everyone()


def load_state(folder: Path, workers: Any, model: Any, optimizer: Any) -> Progress | None:
    """Put the newest checkpoint back, into model and optimizer too. Every worker reads the folder."""
    newest = max(folder.glob("update-*"), default=None)
    if newest is None:
        return None
    set_model_state_dict(model, {**load_file(newest / WEIGHTS)}, options=_options(strict=False))
    numbers = torch.load(newest / OPTIMIZER, map_location="cpu", weights_only=True)
    set_optimizer_state_dict(model, optimizer, numbers, options=_options())
    held = json.loads((newest / PROGRESS).read_text())
    for name in ("logits", "best_logits"):
        held[name] = {int(place): logits for place, logits in held[name].items()}
    held["epochs"] = [Epoch(**epoch) for epoch in held["epochs"]]
    workers.wait_for_everyone()
    return Progress(**held)


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """The file is whole or, if this is interrupted, the old one."""
    unfinished = path.with_name(path.name + ".unfinished")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, unfinished)
    os.replace(unfinished, path)


def _name(progress: Progress) -> str:
    return f"update-{progress.updates:07d}-{len(progress.epochs):04d}"


def _options(strict: bool = True) -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=strict)
