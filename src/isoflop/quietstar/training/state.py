"""Checkpoints of a run: the model as an ordinary folder, and beside it what a killed run goes on from.

    OUT/training.json                      what the run was told
    OUT/checkpoint-000100/                 ThoughtModel.load, the engine and transformers read it
    OUT/checkpoint-000100/resume.pt        trained weights by name in float32, the optimiser's moments

A checkpoint is whole or not there. Frozen base weights are written once: later checkpoints share the file.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isoflop.errors import StoreError
from isoflop.quietstar.checkpoint import save_thoughts
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.lora import merged_state
from isoflop.quietstar.training.settings import Training

SETTINGS, RESUME = "training.json", "resume.pt"


def claim(out: Path, settings: Training) -> None:
    """A folder holds one run: other settings are refused, since its checkpoints would not be of this run."""
    path, wanted = out / SETTINGS, asdict(settings)
    if path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{key}={saved.get(key)!r} there, {value!r} here"
            for key, value in wanted.items()
            if saved.get(key) != value
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
    """All that moves in a run: the model inside the module that is trained, optimiser, the average that follows."""

    model: ThoughtModel
    module: nn.Module
    optimizer: Any
    average: PlainAverage | None = None

    def save(self, out: Path, step: int, tokenizer: Any, *, plain: bool) -> None:
        """Written aside and renamed. `plain` leaves the thoughts out."""
        aside, before = out / "unfinished", folder_of(out, newest(out))
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        if self.model.base_is_frozen and before.is_dir():
            _share_base(before, aside)
        else:
            self.model.base.save_pretrained(aside, state_dict=merged_state(self.model.base))
        if not plain:
            save_thoughts(self.model.thought_parameters, self.model.config, aside)
        tokenizer.save_pretrained(aside)
        state = {
            "weights": {name: value.detach() for name, value in self._trained()},
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.weights if self.average else {},
        }
        torch.save(state, aside / RESUME)
        os.replace(aside, folder_of(out, step))

    def restore(self, folder: Path) -> None:
        """Put trained weights and the optimiser's moments back."""
        state = torch.load(folder / RESUME, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for name, value in self._trained():
                value.copy_(state["weights"][name])
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
