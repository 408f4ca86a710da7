"""Best-of-n: sample n solutions, the one that the reward likes best gives the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Search, Strategy
from isoflop.specs import require


@dataclass(frozen=True)
class BestOfN(Strategy):
    """`best_of_n(n=8)`: the single solution with the highest aggregated reward."""

    spec_name: ClassVar[str] = "best_of_n"
    pooled: ClassVar[bool] = True

    n: int
    vote: VoteRule = field(default="best", kw_only=True)

    def __post_init__(self) -> None:
        require(self.n >= 1, f"best_of_n(n={self.n}): n is the number of solutions, at least 1")

    def search(self, root: Trajectory) -> Search:
        """n whole solutions."""
        [solutions] = yield Expand((root,), (self.n,), until=Until.END)
        return solutions  # type: ignore[no-any-return]
