"""Everything an audit finds: accuracies with intervals, every pair tested, what n can detect, measures and compute.

    found = Audit.of(read_published(Path("published_runs.csv"), prompt_tokens=80), "published_runs.csv")
    found.pairs[0].p, found.to_dict()

Every pair is tested and Holm's correction is over all of them: nobody declared a family beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from isoflop.audit.arms import AuditedArm
from isoflop.stats.arms import require_same_problems
from isoflop.stats.intervals import Interval, accuracy_interval
from isoflop.stats.measures import StudyMeasures, study_measures
from isoflop.stats.paired import PairedTest, compare_pairs, minimum_detectable_difference

DISCORDANT = 0.2  # share of questions on which two arms differ, where nothing is known


@dataclass(frozen=True)
class Audit:
    """`source` names what was audited; `prompt_tokens` what the estimates assume, None without estimates."""

    source: str
    arms: tuple[AuditedArm, ...]
    pairs: tuple[PairedTest, ...]
    prompt_tokens: int | None = None

    @classmethod
    def of(cls, arms: Sequence[AuditedArm], source: str, prompt_tokens: int | None = None) -> Audit:
        """Raises StudyError where the arms did not meet the same questions in the same order."""
        data = [arm.data for arm in arms]
        require_same_problems(data)
        pairs = compare_pairs(data, [(a.name, b.name) for a, b in combinations(data, 2)])
        return cls(source, tuple(arms), pairs, prompt_tokens)

    @property
    def questions(self) -> int:
        """Questions that every arm met."""
        return len(self.arms[0].data.problems)

    @property
    def detectable(self) -> float:
        """The smallest difference in accuracy that so many questions show with power 0.8 at level 0.05, uncorrected, if
        arms differ on a fifth of them. Above that fifth nothing would show."""
        return minimum_detectable_difference(self.questions, DISCORDANT)

    def interval(self, arm: AuditedArm) -> Interval:
        """Of the arm's accuracy."""
        return accuracy_interval(arm.data)

    def measures(self, arm: AuditedArm) -> StudyMeasures | None:
        """The published study's own, from the reported figures; None where they were not reported."""
        if not arm.reported_flops or not arm.reported_seconds:
            return None
        return study_measures(100 * arm.data.accuracy, arm.reported_flops / 1e12, arm.reported_seconds)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; numbers that do not exist are None."""
        return {
            "source": self.source,
            "questions": self.questions,
            "prompt_tokens": self.prompt_tokens,
            "detectable_difference": self.detectable,
            "detectable_assumes_discordant": DISCORDANT,
            "arms": [self._arm(arm) for arm in self.arms],
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def _arm(self, arm: AuditedArm) -> dict[str, Any]:
        interval, measures = self.interval(arm), self.measures(arm)
        right = float(arm.data.accuracy_by_problem.sum())
        return {
            "configuration": arm.name,
            "n": self.questions,
            "correct": int(right) if right == int(right) else right,
            "accuracy": arm.data.accuracy,
            "interval": [interval.low, interval.high],
            "interval_method": interval.method,
            "reported_flops_per_question": arm.reported_flops,
            "reported_seconds_per_question": arm.reported_seconds,
            "published_measures": None if measures is None else asdict(measures),
            "flops_per_question": asdict(arm.compute) | {"estimated": arm.estimated},
            "choice": None if arm.choice is None else asdict(arm.choice),
            "disputed": list(arm.disputed),
        }
