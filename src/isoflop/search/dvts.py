"""Diverse verifier tree search: independent subtrees, each following its own best step (Beeching, Tunstall and Rush,
"Scaling test-time compute with open models", 2024). Splitting the beam keeps one lucky prefix from taking it all.
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
class DVTS(Strategy):
    """`dvts(n=16, width=4)`: n / width subtrees; each samples `width` steps at a time and follows the best.

    A subtree ends when its best step is a finished solution; the finished siblings of that step vote with it.
    """

    spec_name: ClassVar[str] = "dvts"
    guided: ClassVar[bool] = True

    n: int
    width: int = 4
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.width >= 1, f"dvts(width={self.width}): at least 1")
        require(
            self.n >= self.width and self.n % self.width == 0,
            f"dvts(n={self.n}, width={self.width}): n, the steps sampled at each depth, is a multiple of width",
        )

    def search(self, root: Trajectory) -> Search:
        """All subtrees side by side."""
        rng = generator(root, "dvts")
        finished: list[Trajectory] = []
        [children] = yield Expand((root,), (self.n,))
        trees = [children[start : start + self.width] for start in range(0, self.n, self.width)]
        while trees:
            rewards = yield Score([node for tree in trees for node in tree])
            ahead: list[Trajectory] = []
            for index, tree in enumerate(trees):
                own = rewards[index * self.width : (index + 1) * self.width]
                [leader] = best(tree, [steps[-1] for steps in own], 1, rng)
                if leader.finished:
                    finished += [node for node in tree if node.finished]
                else:
                    ahead.append(leader)
            trees = (yield Expand(ahead, [self.width] * len(ahead))) if ahead else []
        return finished
