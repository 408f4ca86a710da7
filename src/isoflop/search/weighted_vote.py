"""Weighted vote (arXiv 2408.00724, table 4): sample n solutions, each votes with its reward."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Search, Strategy
from isoflop.specs import require


@dataclass(frozen=True)
class WeightedVote(Strategy):
    """`weighted_vote(n=8)`: the answer with the largest sum of aggregated rewards."""

    spec_name: ClassVar[str] = "weighted_vote"
    pooled: ClassVar[bool] = True

    n: int
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.n >= 1, f"weighted_vote(n={self.n}): n is the number of solutions, at least 1")

    def search(self, root: Trajectory) -> Search:
        """n whole solutions."""
        [solutions] = yield Expand((root,), (self.n,), until=Until.END)
        return solutions  # type: ignore[no-any-return]
