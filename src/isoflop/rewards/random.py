"""The negative control: a reward that knows nothing, drawn from the path's own random stream.

Any strategy that gains from a reward must lose that gain with this one.

    Random(seed=1).open(RewardContext()).score([trajectory])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.randomness import stream_key, uniform
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores


@dataclass(frozen=True)
class Random(RewardSpec):
    """`random(seed=0)`: uniform numbers, the same for the same path whenever it is scored."""

    spec_name: ClassVar[str] = "random"
    seed: int = 0

    def open(self, context: RewardContext) -> Reward:
        """Needs nothing of the context."""
        return RandomReward(self.seed)


class RandomReward(Reward):
    """A uniform number for each node, keyed by (seed, problem, path, depth)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """A number a step, root to leaf."""
        return Scores(tuple(self._path(trajectory) for trajectory in trajectories))

    def _path(self, trajectory: Trajectory) -> tuple[float, ...]:
        origin = trajectory.origin
        keys = (
            stream_key(self.seed, f"reward|{origin.seed}|{origin.problem.id}", trajectory.path[:depth])
            for depth in range(1, trajectory.depth + 1)
        )
        return tuple(uniform(key, depth) for depth, key in enumerate(keys))
