"""What training and judging read: labelled solutions from a file of labels or from the folder of a run.

solutions = read_solutions("labels.jsonl", kind=None)           # of the one kind that the file holds
solutions = read_solutions("runs/first", kind=None)             # outcome labels, which every run has
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from isoflop.errors import StudyError
from isoflop.reward_training.from_run import RunLabels
from isoflop.reward_training.labels import LabelKind, LabelledSolution, read_labels
from isoflop.stats.discrimination import Group
from isoflop.studies.run import Run

RIGHT_FROM = 0.5  # a soft label of at least this counts as right where a measure knows only right and wrong


def read_solutions(source: str | Path, kind: LabelKind | None = None) -> list[LabelledSolution]:
    """Each drawn solution once. Raises StudyError where there is none of that kind, or no label."""
    if Path(source).is_dir():
        found = list(RunLabels(Run.open(source), kind or "outcome"))
    else:
        found = list(read_labels(source))
        kinds = sorted({solution.kind for solution in found})
        if kind is None and len(kinds) > 1:
            raise StudyError(f"{source} holds labels of several kinds; choose one of them: --kind {'|'.join(kinds)}")
        if kind is not None and found and kind not in kinds:
            raise StudyError(f"{source} holds no labels of kind {kind!r}; it holds {', '.join(kinds)}")
        found = [solution for solution in found if kind in (None, solution.kind)]
    if all(label is None for solution in found for label in solution.labels):
        raise StudyError(
            f"{source} holds {len(found)} solutions and no label; `isoflop reward label` makes some, and a run gives "
            "outcome labels where its problems have gold answers"
        )
    return _once(found)


def by_problem(steps: Iterable[tuple[str, float, float]]) -> list[Group]:
    """(problem, score, label) of steps, a group for each problem."""
    found: dict[str, tuple[list[float], list[bool]]] = {}
    for problem, score, label in steps:
        scores, right = found.setdefault(problem, ([], []))
        scores.append(score)
        right.append(label >= RIGHT_FROM)
    return [Group(problem, tuple(scores), tuple(right)) for problem, (scores, right) in found.items()]


def _once(solutions: Iterable[LabelledSolution]) -> list[LabelledSolution]:
    """Arms that share a pool store the same samples; the arm with the most keeps them. Equal draws of one arm stay."""
    found = list(solutions)
    count = Counter(solution.arm for solution in found)
    owner: dict[object, str] = {}
    kept = []
    for solution in sorted(found, key=lambda solution: -count[solution.arm]):
        texts = tuple((step.text, step.tokens) for step in solution.steps)
        key = (solution.problem, solution.seed, solution.prompt, texts)
        if owner.setdefault(key, solution.arm) == solution.arm:
            kept.append(solution)
    return kept
