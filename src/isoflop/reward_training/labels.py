"""Solutions with a label at each step, as data, and as JSON Lines: what a step reward is trained and judged on.

A label is a number in [0, 1], or None where it is not known: a step is never taken for wrong because nobody looked.
It does not make labels (`from_run.py` derives them from a stored run) and knows no model; the prompt's tokens are
what the model's tokenizer makes of `prompt`.

    write_labels("labels.jsonl", solutions)
    for solution in read_labels("labels.jsonl"):
        print(solution.outcome, [(step.text, step.label) for step in solution.steps])

Kinds: `outcome`, each step gets its solution's result (Cobbe et al. 2021, arXiv 2110.14168); `hard` and `soft`, whether
any, and what share, of the completions from this prefix is right (Math-Shepherd, arXiv 2312.08935); `exact`, whether
the step is right by the problem set's own oracle, where it has one.
The file is written down in docs/reward-models.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from isoflop.core import Channel, Outcome
from isoflop.errors import ProblemError, StoreError
from isoflop.problems.rows import read_jsonl

LabelKind = Literal["outcome", "hard", "soft", "exact"]
LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)


@dataclass(frozen=True, slots=True)
class LabelledStep:
    """A step with its label; think and latent steps have none.

    `completions` is the number of verified completions from this prefix (0: the label is the solution's own result, or
    follows from other prefixes). The first `forced` tokens were put there; `logprobs` are of the sampled ones, in nats.
    """

    text: str
    label: float | None = None
    completions: int = 0
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    forced: int = 0
    channel: Channel = Channel.VISIBLE


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """One complete solution. `outcome` is correct, wrong or no answer: what could not be verified is no data."""

    problem: str  # the problem's id
    question: str
    gold: str
    prompt: str  # as the model was given it
    steps: tuple[LabelledStep, ...]
    outcome: Outcome
    kind: LabelKind
    arm: str = ""
    seed: int = 0

    @property
    def correct(self) -> bool:
        """Whether the final answer is right."""
        return self.outcome is Outcome.CORRECT

    @property
    def labels(self) -> tuple[float | None, ...]:
        """The label of each step."""
        return tuple(step.label for step in self.steps)


def write_labels(path: str | Path, solutions: Iterable[LabelledSolution]) -> int:
    """Write one solution a line and say how many. The file is whole or, if this is interrupted, the old one."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    written = 0
    try:
        with unfinished.open("w", encoding="utf-8") as lines:
            for solution in solutions:
                lines.write(json.dumps(_row(solution)) + "\n")
                written += 1
        os.replace(unfinished, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); free space or choose another place") from None
    return written


def read_labels(path: str | Path) -> Iterator[LabelledSolution]:
    """The solutions of a file, in order. Raises ProblemError with file and line for what is no labelled solution."""
    for number, row in read_jsonl(Path(path)):
        where = f"{path} line {number}"
        try:
            yield _solution(row)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ProblemError(
                f"{where} is no labelled solution: {reason}; `isoflop reward label` writes such files"
            ) from None


def _row(solution: LabelledSolution) -> dict[str, Any]:
    return {
        "problem": solution.problem,
        "question": solution.question,
        "gold": solution.gold,
        "prompt": solution.prompt,
        "arm": solution.arm,
        "seed": solution.seed,
        "kind": solution.kind,
        "outcome": solution.outcome.value,
        "steps": [_step_row(step) for step in solution.steps],
    }


def _step_row(step: LabelledStep) -> dict[str, Any]:
    return {
        "text": step.text,
        "label": step.label,
        "completions": step.completions,
        "tokens": step.tokens,
        "logprobs": step.logprobs,
        "forced": step.forced,
        "channel": step.channel.value,
    }


def _solution(row: Any) -> LabelledSolution:
    if row["kind"] not in LABEL_KINDS:
        raise ValueError(f"kind {row['kind']!r}; allowed: {', '.join(LABEL_KINDS)}")
    return LabelledSolution(
        problem=row["problem"],
        question=row["question"],
        gold=row["gold"],
        prompt=row["prompt"],
        steps=tuple(_step(step) for step in row["steps"]),
        outcome=Outcome(row["outcome"]),
        kind=row["kind"],
        arm=row["arm"],
        seed=row["seed"],
    )


def _step(row: Any) -> LabelledStep:
    label = row["label"]
    if label is not None and not 0 <= label <= 1:
        raise ValueError(f"label {label!r}; a label is a number in [0, 1], or null where it is not known")
    return LabelledStep(
        text=row["text"],
        label=None if label is None else float(label),
        completions=row["completions"],
        tokens=tuple(row["tokens"]),
        logprobs=tuple(row["logprobs"]),
        forced=row["forced"],
        channel=Channel(row["channel"]),
    )
