"""Adaptive-Consistency (arXiv 2305.11860): sample until the leading answer is unlikely to be overtaken.

With v1 votes for the leader and v2 for the runner-up, the share of the leader against the runner-up has the posterior
Beta(v1 + 1, v2 + 1). Sampling stops when P(share > 1/2) exceeds `threshold`, or at `max_n`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Read, Search, Strategy
from isoflop.specs import require


@dataclass(frozen=True)
class AdaptiveConsistency(Strategy):
    """`adaptive_consistency(max_n=16)`: majority vote that stops early; `batch` samples are drawn between two looks."""

    spec_name: ClassVar[str] = "adaptive_consistency"
    pooled: ClassVar[bool] = True

    max_n: int
    threshold: float = 0.95
    batch: int = 1

    def __post_init__(self) -> None:
        require(self.max_n >= 1, f"adaptive_consistency(max_n={self.max_n}): at least 1")
        require(0.5 < self.threshold < 1, f"adaptive_consistency(threshold={self.threshold}): between 0.5 and 1")
        require(self.batch >= 1, f"adaptive_consistency(batch={self.batch}): at least 1")

    def search(self, root: Trajectory) -> Search:
        """Whole solutions, a batch at a time."""
        solutions: list[Trajectory] = []
        while len(solutions) < self.max_n:
            width = min(self.batch, self.max_n - len(solutions))
            [new] = yield Expand((root,), (width,), until=Until.END)
            solutions += new
            labels = yield Read(solutions)
            if leader_probability(labels) > self.threshold:
                break
        return solutions


def leader_probability(labels: Sequence[str | None]) -> float:
    """P(the leading answer is more frequent than the runner-up), given the votes so far; 0 where nobody voted.

    For whole numbers the Beta tail is a binomial sum: P(Beta(a + 1, b + 1) > 1/2) = P(Binomial(a + b + 1, 1/2) <= a).
    """
    top = Counter(label for label in labels if label is not None).most_common(2)
    if not top:
        return 0.0
    first = top[0][1]
    second = top[1][1] if len(top) > 1 else 0
    trials = first + second + 1
    return sum(comb(trials, k) for k in range(first + 1)) / float(2**trials)
