"""Stepwise rejection: one solution, grown step by step; a step that the reward does not accept is drawn again.

It spends its compute where a step went wrong and nowhere else, so it searches at little more than the price of one
solution; `rounds` makes more of them, which vote. Accepting single steps by a threshold on their process reward: Liao
et al. 2025, "Reward-Guided Speculative Decoding" (arXiv 2501.19324).

    retry(tries=8, accept=0.5)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.search.base import Expand, Score, Search, Strategy
from isoflop.search.choose import best, generator
from isoflop.search.rounds import in_rounds, purpose, require_rounds
from isoflop.specs import require


@dataclass(frozen=True)
class Retry(Strategy):
    """A step is drawn until its reward is at least `accept`, `tries` times at most; then the best of them is taken.

    `rounds`: at most so many solutions, until an answer leads with `confidence`.
    """

    spec_name: ClassVar[str] = "retry"
    guided: ClassVar[bool] = True

    tries: int = 4
    accept: float = 0.5
    rounds: int = field(default=1, kw_only=True)
    confidence: float = field(default=0.95, kw_only=True)
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.tries >= 1, f"retry(tries={self.tries}): at least 1")
        require(0 <= self.accept <= 1, f"retry(accept={self.accept}): a reward, between 0 and 1")
        require_rounds("retry", self.rounds, self.confidence)

    def search(self, root: Trajectory) -> Search:
        """A solution, or several."""
        return (yield from in_rounds(self._solution, root, self.rounds, self.confidence))

    def _solution(self, root: Trajectory, number: int) -> Search:
        """Step by step to the end."""
        rng = generator(root, purpose("retry", number))
        node = root
        while not node.finished:
            drawn: list[Trajectory] = []
            rewards: list[float] = []
            while len(drawn) < self.tries and not any(reward >= self.accept for reward in rewards):
                [[child]] = yield Expand((node,), (1,))
                [steps] = yield Score([child])
                drawn.append(child)
                rewards.append(steps[-1])
            [node] = best(drawn, rewards, 1, rng)
        return [node]
