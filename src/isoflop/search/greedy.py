"""Greedy decoding: the most likely token each time, once. The bar below which nothing is worth its compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Search, Strategy


@dataclass(frozen=True)
class Greedy(Strategy):
    """`greedy()`: one solution at temperature 0, whatever the arm's sampling says."""

    spec_name: ClassVar[str] = "greedy"

    def search(self, root: Trajectory) -> Search:
        """One whole solution."""
        [solutions] = yield Expand((root,), (1,), until=Until.END, temperature=0.0)
        return solutions  # type: ignore[no-any-return]
