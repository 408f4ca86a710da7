"""`isoflop reward eval`: rewards beside the two that cost nothing, log-probability and chance, on the same solutions.

    evaluation = evaluate("labels.jsonl", ["trunk(path='heads/first')"], out="heads/first-judged")
    evaluation.judgements[0].within

Each reward's Platt fit is written to OUT/NAME/calibration.json. It draws nothing (`evaluation_report.py` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoflop import specs
from isoflop.answers.base import Grader
from isoflop.core import Outcome
from isoflop.errors import ModelError, ProblemError, RewardError, StudyError
from isoflop.problems.rows import read_jsonl
from isoflop.reward_training.folder import problems_of
from isoflop.reward_training.judging import Judgement, first_errors, judge, pools_of
from isoflop.reward_training.labels import LabelKind, LabelledSolution, LabelledStep
from isoflop.reward_training.scoring import PolicyStates, score
from isoflop.reward_training.sources import read_solutions
from isoflop.rewards.base import RewardSpec
from isoflop.studies.run import Run

BASELINES = ("logprob()", "random()")
CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Evaluation:
    """Judgements, the asked rewards' first; `notes` is what must be said beside them."""

    source: str
    kind: LabelKind
    solutions: int
    problems: int
    judgements: tuple[Judgement, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def evaluate(
    source: str | Path,
    rewards: Sequence[str],
    *,
    out: str | Path | None = None,
    kind: LabelKind | None = None,
    processbench: str | Path | None = None,
    grader: str | None = None,
    held_out_of: str | Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
) -> Evaluation:
    """`held_out_of`: a trained reward's folder, whose held-out problems alone are judged on."""
    asked: list[RewardSpec] = [specs.parse("reward", text) for text in rewards]
    known = [spec for text in BASELINES if (spec := specs.parse("reward", text)) not in asked]
    solutions = read_solutions(source, kind)
    if held_out_of is not None:
        solutions = _held_out(solutions, held_out_of)
    reader = _grader(source, grader)
    errors = None if processbench is None else list(read_processbench(processbench))
    states = PolicyStates(solutions, dtype=dtype, device=device)
    error_states = None if errors is None else PolicyStates(errors, dtype=dtype, device=device)
    judgements, notes = [], [note for spec in asked for note in _seen(spec, solutions)]
    for spec in [*asked, *known]:
        try:
            scores = score(spec, solutions, states)
        except RewardError as error:
            if spec in asked:
                raise
            notes.append(f"{spec} is not judged: {error}")
            continue
        found = None
        if errors is not None:
            try:
                found = first_errors(score(spec, errors, error_states), errors)
            except (RewardError, ModelError, StudyError) as error:
                notes.append(f"{spec} has no first-error F1 on {processbench}: {error}")
        elif solutions[0].kind in ("hard", "exact"):
            found = first_errors(scores, solutions)
        judgements.append(judge(str(spec), scores, solutions, pools_of(scores, solutions, reader), found, str(source)))
        notes += [f"{spec}: {note}" for note in judgements[-1].notes]
    files = () if out is None else tuple(_write_fits(Path(out), judgements))
    problems = len({solution.problem for solution in solutions})
    kind = solutions[0].kind
    return Evaluation(str(source), kind, len(solutions), problems, tuple(judgements), files, tuple(notes))


def read_processbench(path: str | Path) -> Iterator[LabelledSolution]:
    """ProcessBench's rows: `problem`, `steps`, and `label`, the place of the first wrong step or -1."""
    for number, row in read_jsonl(Path(path)):
        try:
            question, steps, first = row["problem"], row["steps"], row["label"]
            if not steps or not -1 <= first < len(steps):
                raise ValueError(f"label {first} of {len(steps)} steps; allowed: -1 (none wrong) or a step's place")
            labels = [1.0 if first < 0 or place < first else 0.0 for place in range(len(steps))]
            made = tuple(LabelledStep(str(text), label) for text, label in zip(steps, labels, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ProblemError(
                f"{path} line {number} is no ProcessBench row: {reason}; it has problem, steps and label"
            ) from None
        outcome = Outcome.CORRECT if first < 0 else Outcome.WRONG
        yield LabelledSolution(question, question, "", "", made, outcome, "hard")


def _held_out(solutions: Sequence[LabelledSolution], folder: str | Path) -> list[LabelledSolution]:
    held_out = problems_of(folder, "held_out")
    if held_out is None:
        raise StudyError(
            f"{folder} has no summary of a training; give --held-out-of a folder of `isoflop reward train`"
        )
    found = [solution for solution in solutions if solution.problem in held_out]
    if not found:
        raise StudyError(f"none of the problems that {folder} held out is among these solutions")
    return found


def _seen(spec: Any, solutions: Sequence[LabelledSolution]) -> Iterator[str]:
    for member in getattr(spec, "rewards", ()):
        yield from _seen(member, solutions)
    trained_on = problems_of(spec.path, "trained_on") if hasattr(spec, "path") else None
    problems = {solution.problem for solution in solutions}
    if trained_on and (seen := trained_on & problems):
        yield (
            f"{spec} was trained on {len(seen)} of these {len(problems)} problems, if ids tell: its numbers flatter; "
            f"judge it on others, or with --held-out-of {spec.path}"
        )


def _grader(source: str | Path, grader: str | None) -> Grader:
    if grader is None:
        grader = Run.open(source).study.problems.grader if Path(source).is_dir() else "math()"
    found: Grader = specs.parse("grader", grader)
    return found


def _write_fits(out: Path, judgements: Sequence[Judgement]) -> Iterator[Path]:
    seen: Counter[str] = Counter()
    for judgement in judgements:
        stem = judgement.reward.partition("(")[0]
        seen[stem] += 1
        name = stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"
        if judgement.platt is not None:
            (out / name).mkdir(parents=True, exist_ok=True)
            judgement.platt.save(out / name / CALIBRATION)
            yield out / name / CALIBRATION
