"""A stored run to its label file, and what was found in it.

summary = label_run(Run.open("runs/labels"), "hard")        # writes runs/labels/labels.jsonl
summary.solutions, summary.share_right, summary.skipped
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from isoflop.cost.ledger import ZERO, Cost
from isoflop.reward_training.from_run import RunLabels
from isoflop.reward_training.labels import LabelKind, LabelledSolution, write_labels
from isoflop.studies.run import Run

FILE_NAME = "labels.jsonl"


@dataclass(slots=True)
class LabelSummary:
    """Counts of a label file. `skipped` says why solutions, completions or whole attempts gave no label."""

    path: Path
    kind: LabelKind
    solutions: int = 0
    right: int = 0
    steps: int = 0
    labelled_steps: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def share_right(self) -> float | None:
        """Of the solutions; None where there is none."""
        return self.right / self.solutions if self.solutions else None


def label_run(run: Run, kind: LabelKind) -> LabelSummary:
    """Write the labels of a run into its folder. Raises StudyError where it has none of that kind."""
    labels = RunLabels(run, kind)
    summary = LabelSummary(run.folder / FILE_NAME, kind)
    write_labels(summary.path, _counted(labels, summary))
    summary.skipped = dict(labels.skipped)
    return summary


def cost_of(run: Run) -> Cost:
    """All that was computed for a run, what kills and reruns lost included."""
    costs = [cost for record in run.attempts for cost in record.spent.values()]
    return sum([*costs, *run.lost.values()], ZERO)


def _counted(labels: RunLabels, summary: LabelSummary) -> Iterator[LabelledSolution]:
    for solution in labels:
        summary.solutions += 1
        summary.right += solution.correct
        summary.steps += len(solution.steps)
        summary.labelled_steps += sum(label is not None for label in solution.labels)
        yield solution
