"""How far an arm's reward can be believed: the weight that each complete solution got, against whether it was right.

    for row in calibrations(run.attempts, arms): row.arm, row.error, row.bins

Solutions of one problem are not independent, so the counts beside the bins promise more than there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isoflop.core import Outcome
from isoflop.report.arms import ArmSummary
from isoflop.stats.calibration import Bin, expected_calibration_error, reliability
from isoflop.studies.record import Record

FEWEST = 20  # solutions; fewer say nothing of ten bins
_JUDGED = {Outcome.CORRECT: 1.0, Outcome.WRONG: 0.0, Outcome.NO_ANSWER: 0.0}


@dataclass(frozen=True)
class Calibration:
    """One arm's: `bins` of equally many solutions, and the expected calibration error over them."""

    arm: str
    reward: str
    solutions: int
    bins: tuple[Bin, ...]
    error: float


def calibrations(records: Iterable[Record], arms: Sequence[ArmSummary]) -> tuple[Calibration, ...]:
    """Of every arm whose solutions were weighed by a reward, and judged."""
    rewarded = {arm.label: arm for arm in arms if arm.arm.reward is not None}
    weighed: dict[str, list[tuple[float, float]]] = {label: [] for label in rewarded}
    for record in records:
        if record.arm in weighed and not record.failed:
            weighed[record.arm] += [
                (one.weight, _JUDGED[one.outcome])
                for one in record.candidates
                if one.weight is not None and 0 <= one.weight <= 1 and one.outcome in _JUDGED
            ]
    return tuple(
        _calibration(rewarded[label], pairs)
        for label, pairs in weighed.items()
        if len(pairs) >= FEWEST and len({weight for weight, _ in pairs}) > 1
    )


def _calibration(arm: ArmSummary, pairs: Sequence[tuple[float, float]]) -> Calibration:
    weights, right = zip(*pairs, strict=True)
    bins = reliability(weights, right)
    return Calibration(arm.label, str(arm.arm.reward), len(pairs), tuple(bins), expected_calibration_error(bins))
