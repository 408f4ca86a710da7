"""How training goes: loss and AUC of an epoch, on problems trained on and on problems held out, one JSON line each.

write_epochs(folder, epochs)          # folder/log.jsonl
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from isoflop.reward_training.sources import RIGHT_FROM
from isoflop.stats.discrimination import Group, auc

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


def by_problem(
    scores: Sequence[float], targets: Sequence[float], problems: Sequence[str], chosen: Sequence[bool]
) -> list[Group]:
    """The chosen steps, a group for each problem."""
    found: dict[str, tuple[list[float], list[bool]]] = {}
    for score, target, problem, is_chosen in zip(scores, targets, problems, chosen, strict=True):
        if is_chosen:
            of_problem = found.setdefault(problem, ([], []))
            of_problem[0].append(score)
            of_problem[1].append(target >= RIGHT_FROM)
    return [Group(problem, tuple(scores), tuple(right)) for problem, (scores, right) in found.items()]


def write_epochs(folder: Path, epochs: Sequence[Epoch]) -> None:
    """All epochs so far, one line each."""
    unfinished = folder / f"{FILE}.unfinished"
    unfinished.write_text("".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs))
    os.replace(unfinished, folder / FILE)
