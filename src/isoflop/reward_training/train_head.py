"""`isoflop reward train --method head`: a logistic head on the policy's own hidden states, which costs no forward.

The states are extracted once and kept, so a killed run goes on; fitting takes seconds. Every seed holds out problems of
its own, stops by them and makes one head: in the folder itself, or in `seed-0`, `seed-1`, .. where there are several.

    summary = train_head("labels.jsonl", "path/to/model", "heads/first", HeadTraining(seeds=(0, 1, 2)))
    summary["fits"][0]["held_out_auc"]

Legend: S steps, R positions read, D hidden size, F log-prob features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from isoflop.errors import StudyError
from isoflop.reward_training.epochs import write_epochs
from isoflop.reward_training.examples import Example, policy_examples, policy_tokens
from isoflop.reward_training.fit_summary import fit_summary, labels_summary, told, write_summary
from isoflop.reward_training.folder import SUMMARY, claim, labels_print, write_json
from isoflop.reward_training.head_fit import HeadOptions, Rows, fit_head
from isoflop.reward_training.hidden import cached_states
from isoflop.reward_training.labels import LabelKind
from isoflop.reward_training.sources import read_solutions
from isoflop.reward_training.split import held_out_problems
from isoflop.rewards.head_folder import log_prob_features, path_features, save_head
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.specs import require

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
    states: str | Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
    tell: Told = lambda text: None,
) -> dict[str, Any]:
    """Train, save, and return the summary, which also stands in `summary.json`.

    `states`: the folder in which hidden states are kept; trainings on the same labels may share it.
    """
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
    rows = _rows(loaded, examples, Path(states or folder / STATES), training.features, tell)
    fits = [_fit_one(rows, examples, folder, training, seed, model, tell) for seed in training.seeds]
    summary = {
        "method": "head",
        "model": model,
        "use": f"trunk({str(folder if len(fits) == 1 else folder / f'seed-{training.seeds[0]}')!r})",
        **labels_summary(examples, solutions[0].kind),
        "fits": fits,
    }
    write_summary(folder, summary)
    return summary


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
    summary = fit_summary(examples, fit.logit_S.tolist(), fit.epochs, held_out, seed, folder)
    if folder != out:
        write_json(folder / SUMMARY, summary)
    tell(told(summary))
    return summary


def _check_log_probs(examples: Sequence[Example]) -> None:
    for example in examples:
        for step in example.steps:
            if not step.logprobs:
                raise StudyError(
                    f"problem {example.problem!r}: the step {step.text[:60]!r} has no log-probabilities, which "
                    "--features reads; leave it out, or label solutions of an engine that returns them"
                )
