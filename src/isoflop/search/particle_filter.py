"""Particle filtering over steps (Rollout Roulette, arXiv 2502.01618): weight = logit of the reward, then resample.

Unlike a beam it resamples in proportion, so a prefix that the reward dislikes keeps a chance: the method is robust
where the reward is not. A finished particle stays in the population with its weight and may be resampled again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.search.base import Expand, Score, Search, Strategy
from isoflop.search.choose import generator, systematic
from isoflop.specs import require

_CLIP = 1e-6  # a reward of exactly 0 or 1 would have an infinite logit


@dataclass(frozen=True)
class ParticleFilter(Strategy):
    """`particle_filter(n=8)`: n particles, systematic resampling with weights softmax(logit(reward) / temperature)."""

    spec_name: ClassVar[str] = "particle_filter"
    guided: ClassVar[bool] = True

    n: int
    temperature: float = 1.0
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.n >= 1, f"particle_filter(n={self.n}): at least 1")
        require(self.temperature > 0, f"particle_filter(temperature={self.temperature}): must be above 0")

    def search(self, root: Trajectory) -> Search:
        """Grow every open particle by one step, weigh all, resample; until all are complete."""
        rng = generator(root, "particle_filter")
        [particles] = yield Expand((root,), (self.n,))
        while not all(node.finished for node in particles):
            rewards = yield Score(particles)
            counts = self._resample([steps[-1] for steps in rewards], rng.random())
            survivors = [(node, count) for node, count in zip(particles, counts, strict=True) if count]
            particles = [node for node, count in survivors if node.finished for _ in range(count)]
            parents = [node for node, _ in survivors if not node.finished]
            widths = [count for node, count in survivors if not node.finished]
            grown = (yield Expand(parents, widths)) if parents else []
            particles += [node for siblings in grown for node in siblings]
        return particles  # type: ignore[no-any-return]

    def _resample(self, rewards: list[float], offset: float) -> list[int]:
        clipped = [min(max(reward, _CLIP), 1 - _CLIP) for reward in rewards]
        logits = [math.log(reward / (1 - reward)) / self.temperature for reward in clipped]
        top = max(logits)
        return systematic([math.exp(logit - top) for logit in logits], self.n, offset)
