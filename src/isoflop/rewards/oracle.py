"""The upper bound: a reward that looks at the gold answer.

For selection among complete solutions it is 1 where the answer is right and 0 where it is wrong or missing. It may
steer a search only where the problem set has an exact oracle for every step; elsewhere that is refused, since it would
leak the answer into the search without saying what a right step is.

    Oracle().open(RewardContext(is_correct=check))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.errors import RewardError
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores


@dataclass(frozen=True)
class Oracle(RewardSpec):
    """`oracle()`: final correctness, or exact step correctness where the problem set knows it."""

    spec_name: ClassVar[str] = "oracle"
    sees_gold: ClassVar[bool] = True

    def open(self, context: RewardContext) -> Reward:
        """Raises RewardError where the problem set has no gold answers."""
        if context.step_is_correct is not None:
            return StepOracle(context.step_is_correct)
        if context.is_correct is None:
            raise RewardError("reward oracle() needs problems with gold answers; these have none")
        return FinalOracle(context.is_correct)


class FinalOracle(Reward):
    """Knows only whether a complete solution is right; every step of it gets that value."""

    guides_search = False

    def __init__(self, is_correct: Callable[[Trajectory], bool | None]) -> None:
        self._is_correct = is_correct

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """1.0 for right, 0.0 for wrong or no answer, for every step alike."""
        return Scores(tuple((float(bool(self._is_correct(each))),) * each.depth for each in trajectories))


class StepOracle(Reward):
    """Knows for every prefix whether it is right so far."""

    def __init__(self, step_is_correct: Callable[[Trajectory], bool]) -> None:
        self._step_is_correct = step_is_correct

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """1.0 for each prefix that is right so far, else 0.0."""
        return Scores(tuple(self._path(each) for each in trajectories))

    def _path(self, trajectory: Trajectory) -> tuple[float, ...]:
        values: list[float] = []
        node: Trajectory | None = trajectory
        while node is not None and node.step is not None:
            values.append(float(self._step_is_correct(node)))
            node = node.parent
        return tuple(reversed(values))
