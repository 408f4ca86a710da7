"""Stored runs as arrays: who was right and what it took, by arm, training seed and problem.

A training seed is a run of its own: the same study on models that were trained anew. All runs hold the same problems in
the same order, every arm complete; several sampling seeds of a run count with their mean.

    evidence = Evidence.of_runs([Run.open(folder) for folder in folders], choices.labels)
    evidence.correct.shape          # [arms, training seeds, problems]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from isoflop.errors import StudyError, did_you_mean
from isoflop.report.arms import summarize
from isoflop.stats.arms import ArmData, Floats
from isoflop.studies.run import Run


@dataclass(frozen=True, eq=False)
class Evidence:
    """`correct` and `flops` are [arms, training seeds, problems]; `seconds`, of one problem at the runs' throughput,
    [arms, training seeds], None where none were measured."""

    labels: tuple[str, ...]
    correct: Floats
    flops: Floats
    seconds: Floats | None = None

    def __post_init__(self) -> None:
        shape = (len(self.labels), *self.correct.shape[1:])
        if self.correct.ndim != 3 or self.correct.shape != shape or self.flops.shape != shape or not self.correct.size:
            raise StudyError(
                f"evidence on {len(self.labels)} arms must be [arms, training seeds, problems]; correct is "
                f"{self.correct.shape}, flops {self.flops.shape}"
            )

    @classmethod
    def of_runs(cls, runs: Sequence[Run], labels: Sequence[str], further: Sequence[Run] = ()) -> Evidence:
        """`further` runs hold more arms of the same training seeds, in the order of the runs, on all of their problems
        or the first of them: then on those alone. Raises StudyError for an arm that is not there or not complete, and
        for runs on other problems."""
        if len(further) not in (0, len(runs)):
            raise StudyError(
                f"{len(further)} runs of further arms for {len(runs)} runs; give one a run, in their order"
            )
        found = [_arms(both, labels) for both in zip(runs, *([further] if further else []), strict=True)]
        problems = min((arm.problems for arms in found for arm in arms), key=len)
        n = len(problems)
        for run, arms in zip(runs, found, strict=True):
            if any((arm.problems[:n] if further else arm.problems) != problems for arm in arms):
                raise StudyError(f"{run.folder} and {runs[0].folder} do not hold the same problems in the same order")
        return cls(
            tuple(labels),
            np.array([[arm.accuracy_by_problem[:n] for arm in arms] for arms in found]).swapaxes(0, 1),
            np.array([[arm.flops_by_problem[:n] for arm in arms] for arms in found]).swapaxes(0, 1),
        )

    def with_seconds(self, timings: Sequence[Path]) -> Evidence:
        """The same with what `isoflop time ... --json` printed, one file a training seed, in the runs' order."""
        if len(timings) != self.correct.shape[1]:
            raise StudyError(f"{len(timings)} timings for {self.correct.shape[1]} runs; give one a run, in their order")
        by_seed = [_seconds(path, self.labels) for path in timings]
        return replace(self, seconds=np.array(by_seed).T)

    def place(self, label: str) -> int:
        """Where an arm stands."""
        return self.labels.index(label)


def evidence_of(correct: Mapping[str, ArrayLike], flops: Mapping[str, ArrayLike]) -> Evidence:
    """From arrays of [training seeds, problems] by label."""
    labels = tuple(correct)
    return Evidence(
        labels,
        np.stack([np.asarray(correct[label], dtype=np.float64) for label in labels]),
        np.stack([np.asarray(flops[label], dtype=np.float64) for label in labels]),
    )


def _arms(runs: Sequence[Run], labels: Sequence[str]) -> list[ArmData]:
    """Of a training seed's runs; of two arms of one label the first run's."""
    found = {arm.label: arm for run in reversed(runs) for arm in summarize(run)}
    where = " and ".join(str(run.folder) for run in runs)
    arms = []
    for label in labels:
        if label not in found:
            raise StudyError(f"{where}: no arm {label!r}{did_you_mean(label, found)}")
        arm = found[label]
        if not arm.complete or arm.data is None:
            raise StudyError(f"{where}: arm {label!r} is not complete ({arm.missing} attempts are still to make)")
        arms.append(arm.data)
    return arms


def _seconds(path: Path, labels: Sequence[str]) -> list[float]:
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
        arms = json.loads(lines[-1])["arms"]
        found = {arm["label"]: 1 / float(arm["problems_per_second"]) for arm in arms}
    except (OSError, ValueError, LookupError, TypeError, ZeroDivisionError) as error:
        raise StudyError(f"{path} is not what `isoflop time ... --json` prints: {error}") from None
    missing = [label for label in labels if label not in found]
    if missing:
        raise StudyError(f"{path} has no seconds of {missing[0]!r}{did_you_mean(missing[0], found)}")
    return [found[label] for label in labels]
