"""How training goes: loss and AUC of an epoch, on problems trained on and on problems held out, one JSON line each.

write_epochs(folder, epochs)          # folder/log.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from isoflop.reward_training.folder import write_text
from isoflop.reward_training.sources import RIGHT_FROM
from isoflop.stats.discrimination import auc

FILE = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses are mean cross-entropies, in nats; an AUC over all steps at once is None where all are of one kind."""

    seed: int
    epoch: int
    train_loss: float
    held_out_loss: float
    train_auc: float | None
    held_out_auc: float | None


def measure(seed: int, epoch: int, logit_S: torch.Tensor, target_S: torch.Tensor, is_held_S: torch.Tensor) -> Epoch:
    """The numbers of one epoch, from all steps' logits."""
    logit_S, is_right_S = logit_S.detach().float().cpu(), target_S >= RIGHT_FROM
    parts = (~is_held_S, is_held_S)
    losses = [float(cross_entropy(logit_S[part], target_S[part])) for part in parts]
    areas = [auc(logit_S[part].numpy(), is_right_S[part].numpy()) for part in parts]
    return Epoch(seed, epoch, losses[0], losses[1], areas[0], areas[1])


def best_of(epochs: Sequence[Epoch]) -> Epoch:
    """The first one of the lowest held-out loss."""
    return min(epochs, key=lambda epoch: epoch.held_out_loss)


def is_over(epochs: Sequence[Epoch], most: int, patience: int) -> bool:
    """Whether training stops: after `most` epochs, or `patience` epochs after the best one."""
    return len(epochs) >= most or (bool(epochs) and len(epochs) - best_of(epochs).epoch >= patience)


def write_epochs(folder: Path, epochs: Sequence[Epoch]) -> None:
    """All epochs so far, one line each."""
    write_text(folder / FILE, "".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs))
