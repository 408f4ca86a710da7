"""Beam search over steps: keep the `width` best prefixes by reward, grow `expand` children each (arXiv 2408.03314).

A finished path leaves the beam, which gets narrower by one, so that as many solutions finish as the beam is wide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.search.base import Expand, Score, Search, Strategy
from isoflop.search.choose import best, generator
from isoflop.specs import require


@dataclass(frozen=True)
class Beam(Strategy):
    """`beam(width=4, expand=4)`: width * expand steps are sampled at each depth."""

    spec_name: ClassVar[str] = "beam"
    guided: ClassVar[bool] = True

    width: int
    expand: int = 4
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.width >= 1, f"beam(width={self.width}): at least 1")
        require(self.expand >= 1, f"beam(expand={self.expand}): at least 1")

    def search(self, root: Trajectory) -> Search:
        """Depth by depth, until the beam is empty."""
        rng = generator(root, "beam")
        finished: list[Trajectory] = []
        [children] = yield Expand((root,), (self.width * self.expand,))
        while True:
            rewards = yield Score(children)
            kept = best(children, [steps[-1] for steps in rewards], self.width - len(finished), rng)
            finished += [node for node in kept if node.finished]
            beam = [node for node in kept if not node.finished]
            if not beam:
                return finished
            grown = yield Expand(beam, [self.expand] * len(beam))
            children = [node for siblings in grown for node in siblings]
