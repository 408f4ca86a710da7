"""`isoflop reward train --method head`: a logistic head on the policy's own hidden states, which costs no forward.

The states are extracted once and kept, so a killed run goes on; fitting takes seconds. Every seed holds out problems of
its own, stops by them and makes one head: in the folder itself, or in `seed-0`, `seed-1`, .. where there are several.

    summary = train_head("labels.jsonl", "path/to/model", "heads/first", HeadTraining(seeds=(0, 1, 2)))
    summary["heads"][0]["held_out_auc"]

Legend: S steps, R positions read, D hidden size, F log-prob features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from isoflop.errors import StudyError
from isoflop.reward_training.card import card
from isoflop.reward_training.epochs import write_epochs
from isoflop.reward_training.examples import Example, policy_examples, policy_tokens
from isoflop.reward_training.folder import CARD, SUMMARY, claim, write_json
from isoflop.reward_training.head_fit import HeadFit, HeadOptions, Rows, fit_head
from isoflop.reward_training.hidden import cached_states
from isoflop.reward_training.labels import LabelKind, LabelledSolution
from isoflop.reward_training.sources import RIGHT_FROM, by_problem, read_solutions
from isoflop.reward_training.split import held_out_problems
from isoflop.rewards.head_folder import log_prob_features, path_features, save_head
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.specs import require
from isoflop.stats.discrimination import Auc, Group, pooled_auc, within_auc

STATES = "states"
FeatureKind = Literal["logprob", "path"]
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class HeadTraining:
    """`features`, beside the hidden state: `logprob`, a step's mean and least log-probability; `path`, besides these
    the sum and the least of the whole path. `held_out`: share of problems."""

    kind: LabelKind | None = None
    features: FeatureKind | None = None
    seeds: tuple[int, ...] = (0,)
    held_out: float = 0.1
    options: HeadOptions = field(default_factory=HeadOptions)

    def __post_init__(self) -> None:
        require(len(set(self.seeds)) == len(self.seeds) > 0, f"seeds={list(self.seeds)}: at least one, each once")


def train_head(
    source: str | Path,
    model: str,
    out: str | Path,
    training: HeadTraining,
    *,
    dtype: str = "auto",
    device: str = "auto",
    tell: Told = lambda text: None,
) -> dict[str, Any]:
    """Train, save, and return the summary, which also stands in `summary.json`."""
    folder = Path(out)
    solutions = read_solutions(source, training.kind)
    tokenizer = load_tokenizer(model)
    loaded = load_model(model, dtype=dtype, device=device)
    examples = policy_examples(solutions, policy_tokens(loaded, tokenizer))
    if training.features is not None:
        _check_log_probs(examples)
    for seed in training.seeds:  # before the long part
        held_out_problems([example.problem for example in examples], training.held_out, seed)
    claim(
        folder,
        {"method": "head", "model": model, "labels": labels_print(solutions), "dtype": dtype, **asdict(training)},
    )
    rows = _rows(loaded, examples, folder / STATES, training.features, tell)
    fits = [_fit_one(rows, examples, folder, training, seed, model, tell) for seed in training.seeds]
    summary = {
        "method": "head",
        "trunk": model,
        "use": f"trunk({str(folder if len(fits) == 1 else folder / f'seed-{training.seeds[0]}')!r})",
        "kind": solutions[0].kind,
        "solutions": len(examples),
        "steps": len(rows.problems),
        "share_right": float((rows.target_S >= RIGHT_FROM).float().mean()),
        "heads": fits,
    }
    write_json(folder / SUMMARY, {**summary, **({} if len(fits) > 1 else _problems(fits[0]))})
    (folder / CARD).write_text(card(summary))
    return summary


def labels_print(solutions: Sequence[LabelledSolution]) -> str:
    """Changes with any solution or label."""
    digest = hashlib.blake2b(digest_size=12)
    for solution in solutions:
        digest.update(repr(solution).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _rows(model: Any, examples: Sequence[Example], folder: Path, features: FeatureKind | None, tell: Told) -> Rows:
    passages = [example.passage for example in examples]
    found = cached_states(
        model, passages, folder, lambda done, all_: tell(f"hidden states: {done} of {all_} solutions")
    )
    return Rows(
        hidden_SD=torch.cat(found),
        features_SF=None if features is None else _features(examples, features),
        target_S=torch.tensor([target for example in examples for target in example.targets]),
        problems=tuple(example.problem for example in examples for _ in example.steps),
    )


def _features(examples: Sequence[Example], kind: FeatureKind) -> torch.Tensor:
    every = [pair for example in examples for pair in zip(example.steps, example.before, strict=True)]
    if kind == "path":
        return torch.tensor([path_features(step.logprobs, before) for step, before in every])
    return torch.tensor([log_prob_features(step.logprobs) for step, _ in every])


def _fit_one(
    rows: Rows, examples: Sequence[Example], out: Path, training: HeadTraining, seed: int, trunk: str, tell: Told
) -> dict[str, Any]:
    held_out = held_out_problems(rows.problems, training.held_out, seed)
    fit = fit_head(rows, held_out, seed, training.options, trunk)
    folder = out if len(training.seeds) == 1 else out / f"seed-{seed}"
    save_head(folder, fit.head)
    write_epochs(folder, fit.epochs)
    summary = _summary(rows, examples, fit, held_out, seed, folder)
    if folder != out:
        write_json(folder / SUMMARY, summary)
    shown = "unknown" if summary["held_out_auc"] is None else f"{summary['held_out_auc']:.3f}"
    tell(f"seed {seed}: {len(fit.epochs)} epochs, held-out AUC {shown}, saved {folder}")
    return summary


def _summary(
    rows: Rows, examples: Sequence[Example], fit: HeadFit, held_out: frozenset[str], seed: int, folder: Path
) -> dict[str, Any]:
    def judged(scores: Sequence[float]) -> list[Group]:
        every = zip(rows.problems, scores, rows.target_S.tolist(), strict=True)
        return by_problem(step for step in every if step[0] in held_out)

    groups = judged(fit.logit_S.tolist())
    steps = [step for example in examples for step in example.steps]
    summary = {
        "seed": seed,
        "folder": str(folder),
        "best_epoch": fit.best.epoch,
        "epochs": len(fit.epochs),
        "train_auc": fit.best.train_auc,
        **named("held_out_auc", pooled_auc(groups)),
        **named("held_out_auc_within", within_auc(groups)),
        "held_out_loss": fit.best.held_out_loss,
        "held_out_steps": sum(len(group.scores) for group in groups),
        "held_out": sorted(held_out),
        "trained_on": sorted(set(rows.problems) - held_out),
    }
    if all(step.logprobs for step in steps):
        free = [log_prob_features(step.logprobs)[0] for step in steps]
        summary |= named("logprob_auc_within", within_auc(judged(free)))
    return summary


def named(name: str, found: Auc | None) -> dict[str, Any]:
    """A measure and its interval; null where it does not exist."""
    interval = None if found is None else [found.interval.low, found.interval.high]
    return {name: None if found is None else found.value, f"{name}_interval": interval}


def _problems(fit: dict[str, Any]) -> dict[str, Any]:
    return {part: fit[part] for part in ("held_out", "trained_on")}


def _check_log_probs(examples: Sequence[Example]) -> None:
    for example in examples:
        for step in example.steps:
            if not step.logprobs:
                raise StudyError(
                    f"problem {example.problem!r}: the step {step.text[:60]!r} has no log-probabilities, which "
                    "--features reads; leave it out, or label solutions of an engine that returns them"
                )
