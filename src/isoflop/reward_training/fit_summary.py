"""What a training says of itself: one summary a seed, the same for every method, and the folder's own.

    fit = fit_summary(examples, logits, epochs, held_out, seed, folder)       # logits: one a labelled step, in order
    write_summary(out, summary, [fit])                                       # summary.json and the model card

AUCs are of problems held out. Those problems also chose the epoch, so they flatter a little.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from isoflop.reward_training.card import card
from isoflop.reward_training.epochs import Epoch, best_of
from isoflop.reward_training.examples import Example
from isoflop.reward_training.folder import CARD, SUMMARY, write_json, write_text
from isoflop.reward_training.sources import RIGHT_FROM, by_problem
from isoflop.rewards.head_folder import log_prob_features
from isoflop.stats.discrimination import Auc, Group, pooled_auc, within_auc


def fit_summary(
    examples: Sequence[Example],
    logits: Sequence[float],
    epochs: Sequence[Epoch],
    held_out: Set[str],
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Of one seed, with log-probability alone beside it where every step has some."""
    steps = [(example.problem, target) for example in examples for target in example.targets]

    def judged(scores: Sequence[float]) -> list[Group]:
        every = zip(steps, scores, strict=True)
        return by_problem((problem, score, label) for (problem, label), score in every if problem in held_out)

    groups, best = judged(logits), best_of(epochs)
    summary = {
        "seed": seed,
        "folder": str(folder),
        "best_epoch": best.epoch,
        "epochs": len(epochs),
        "train_auc": best.train_auc,
        **_named("held_out_auc", pooled_auc(groups)),
        **_named("held_out_auc_within", within_auc(groups)),
        "held_out_loss": best.held_out_loss,
        "held_out_steps": sum(len(group.scores) for group in groups),
        "held_out": sorted(held_out),
        "trained_on": sorted({problem for problem, _ in steps} - held_out),
    }
    shown = [step for example in examples for step in example.steps]
    if all(step.logprobs for step in shown):
        free = [log_prob_features(step.logprobs)[0] for step in shown]
        summary |= _named("logprob_auc_within", within_auc(judged(free)))
    return summary


def told(fit: dict[str, Any]) -> str:
    """The same in one line, for who waits."""
    shown = "unknown" if fit["held_out_auc"] is None else f"{fit['held_out_auc']:.3f}"
    return f"seed {fit['seed']}: {fit['epochs']} epochs, held-out AUC {shown}, saved {fit['folder']}"


def labels_summary(examples: Sequence[Example], kind: str) -> dict[str, Any]:
    """What was trained on, problems held out included."""
    targets = [target for example in examples for target in example.targets]
    return {
        "kind": kind,
        "solutions": len(examples),
        "steps": len(targets),
        "share_right": sum(target >= RIGHT_FROM for target in targets) / len(targets),
    }


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """`summary.json` and the card; with one seed also its problems, where `folder.problems_of` looks for them."""
    fits = summary["fits"]
    own = {part: fits[0][part] for part in ("held_out", "trained_on")} if len(fits) == 1 else {}
    write_json(folder / SUMMARY, {**summary, **own})
    write_text(folder / CARD, card(summary))


def _named(name: str, found: Auc | None) -> dict[str, Any]:
    """A measure and its interval; null where it does not exist."""
    interval = None if found is None else [found.interval.low, found.interval.high]
    return {name: None if found is None else found.value, f"{name}_interval": interval}
