"""Self-consistency (arXiv 2203.11171): sample n solutions, the most frequent answer wins. It needs no reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Search, Strategy
from isoflop.specs import require


@dataclass(frozen=True)
class SelfConsistency(Strategy):
    """`self_consistency(n=8)`: majority vote over n samples."""

    spec_name: ClassVar[str] = "self_consistency"
    pooled: ClassVar[bool] = True

    n: int

    def __post_init__(self) -> None:
        require(self.n >= 1, f"self_consistency(n={self.n}): n is the number of solutions, at least 1")

    def search(self, root: Trajectory) -> Search:
        """n whole solutions."""
        [solutions] = yield Expand((root,), (self.n,), until=Until.END)
        return solutions  # type: ignore[no-any-return]
