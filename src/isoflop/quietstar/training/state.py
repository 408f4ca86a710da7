"""Checkpoints of a run: the model as an ordinary folder, and beside it what a killed run goes on from.

    OUT/training.json                      what the run was told
    OUT/checkpoint-000100/                 ThoughtModel.load, the engine and transformers read it
    OUT/checkpoint-000100/resume.pt        trained weights by name in float32, the optimiser's moments

A checkpoint is whole or not there, and the same for any number of workers, cut up or not: one process goes on with what
two have written, and the other way. Frozen base weights are written once: later checkpoints share the file.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from isoflop.errors import StoreError
from isoflop.quietstar.checkpoint import save_thoughts
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.lora import plain_state
from isoflop.quietstar.training.settings import Training
from isoflop.runtime.workers import cut_like, whole

SETTINGS, RESUME = "training.json", "resume.pt"


def claim(out: Path, settings: Training) -> None:
    """A folder holds one run: other settings are refused, since its checkpoints would not be of this run. How weights
    are spread over workers may change."""
    path, wanted = out / SETTINGS, asdict(settings)
    if path.is_file():
        # a run of before a setting was there has its default
        saved = {field.name: field.default for field in fields(settings)} | json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{key}={saved[key]!r} there, {value!r} here"
            for key, value in wanted.items()
            if saved[key] != value and key != "shard"
        ]
        if changed:
            raise StoreError(f"{out} holds a run with other settings: {'; '.join(changed)}; give another folder")
        return
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def folder_of(out: Path, step: int) -> Path:
    """Where the checkpoint after so many steps stands."""
    return out / f"checkpoint-{step:06d}"


def newest(out: Path) -> int:
    """The last step that was saved whole, 0 where none was."""
    return max((int(path.name[11:]) for path in out.glob("checkpoint-??????")), default=0)


@dataclass(frozen=True, slots=True)
class Trained:
    """All that moves in a run: the model inside the module that is trained, optimiser, the average that follows; and
    the workers that hold it."""

    workers: Any
    model: ThoughtModel
    module: nn.Module
    optimizer: Any
    average: PlainAverage | None = None

    def save(self, out: Path, step: int, tokenizer: Any, *, plain: bool) -> None:
        """Written aside and renamed, by the first worker; all have to call it. `plain` leaves the thoughts out."""
        before = folder_of(out, newest(out))
        shared = self.model.base_is_frozen and before.is_dir()
        base = {} if shared else plain_state(self.model.base, keep=self.workers.is_main_process)
        thoughts = {name: whole(value) for name, value in self.model.thought_parameters.state_dict().items()}
        state = {
            "weights": {name: whole(value.detach()) for name, value in self._trained()},
            "optimizer": tree_map_only(torch.Tensor, whole, self.optimizer.state_dict()),
            "average": self.average.weights if self.average else {},
        }
        if self.workers.is_main_process:
            aside = out / "unfinished"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            if shared:
                _share_base(before, aside)
            else:
                self.model.base.save_pretrained(aside, state_dict=base)
            if not plain:
                save_thoughts(thoughts, self.model.config, aside)
            tokenizer.save_pretrained(aside)
            torch.save(state, aside / RESUME)
            os.replace(aside, folder_of(out, step))
        self.workers.wait_for_everyone()

    def restore(self, folder: Path) -> None:
        """Put trained weights and the optimiser's moments back; every worker reads the folder."""
        state = torch.load(folder / RESUME, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for name, value in self._trained():
                value.copy_(cut_like(state["weights"][name], value))
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for place, moments in state["optimizer"].get("state", {}).items():
            moments |= {name: cut_like(value, parameters[place]) for name, value in moments.items()}
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            device = self.model.device
            self.average.weights = {name: value.to(device) for name, value in state["average"].items()}

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, value) for name, value in self.model.named_parameters() if value.requires_grad]


def _share_base(before: Path, folder: Path) -> None:
    """Link a base model that has not changed since the checkpoint before."""
    for path in before.iterdir():
        if path.name in ("config.json", "generation_config.json") or path.name.startswith("model"):
            os.link(path, folder / path.name)
