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
from isoflop.search.merge import counted, first_of_each
from isoflop.search.rounds import in_rounds, purpose, require_rounds
from isoflop.specs import require


@dataclass(frozen=True)
class Beam(Strategy):
    """`beam(width=4, expand=4)`: width * expand steps are sampled at each depth.

    `merge`: identical prefixes take one place in the beam, and identical solutions vote as often as they came.
    `rounds`: at most so many beams, until an answer leads with `confidence`.
    """

    spec_name: ClassVar[str] = "beam"
    guided: ClassVar[bool] = True

    width: int
    expand: int = 4
    merge: bool = field(default=False, kw_only=True)
    rounds: int = field(default=1, kw_only=True)
    confidence: float = field(default=0.95, kw_only=True)
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.width >= 1, f"beam(width={self.width}): at least 1")
        require(self.expand >= 1, f"beam(expand={self.expand}): at least 1")
        require_rounds("beam", self.rounds, self.confidence)

    def search(self, root: Trajectory) -> Search:
        """A beam, or several."""
        return (yield from in_rounds(self._beam, root, self.rounds, self.confidence))

    def _beam(self, root: Trajectory, number: int) -> Search:
        """Depth by depth, until the beam is empty."""
        rng = generator(root, purpose("beam", number))
        finished: list[Trajectory] = []
        [children] = yield Expand((root,), (self.width * self.expand,))
        while True:
            came = counted(first_of_each(children) if self.merge else children)
            places = list(came)
            rewards = yield Score(places)
            kept = best(places, [steps[-1] for steps in rewards], self.width - len(counted(finished)), rng)
            finished += [node for node in kept if node.finished for _ in range(came[node])]
            beam = [node for node in kept if not node.finished]
            if not beam:
                return finished
            grown = yield Expand(beam, [self.expand] * len(beam))
            children = [node for siblings in grown for node in siblings]
