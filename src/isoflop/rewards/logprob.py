"""The free reward: exp of the mean log-probability of a step's own tokens, at temperature 1.

Forced tokens (the answer prefix, a closing think mark) are not the policy's choice and are left out. It needs no model
and no forward pass, and is the bar that every trained reward has to clear (science: within-problem AUC 0.80-0.86 on
small arithmetic policies).

    LogProb().open(RewardContext()).score([trajectory]).rewards
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from isoflop.core import Step, Trajectory
from isoflop.errors import RewardError
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores


@dataclass(frozen=True)
class LogProb(RewardSpec):
    """`logprob()`: the policy's own confidence in each step."""

    spec_name: ClassVar[str] = "logprob"

    def open(self, context: RewardContext) -> Reward:
        """Needs nothing of the context."""
        return LogProbReward()


class LogProbReward(Reward):
    """Geometric mean of the sampled tokens' probabilities, step by step; a step is worked out once."""

    reads_logprobs = True

    def __init__(self) -> None:
        self._known: dict[str, dict[Trajectory, tuple[float, ...]]] = {}  # by search

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Raises RewardError for a step that carries no log-probabilities."""
        return Scores(
            tuple([self._path(each, self._known.setdefault(each.origin.search, {})) for each in trajectories])
        )

    def release(self, search: str) -> None:
        """Forget the search's steps."""
        self._known.pop(search, None)

    def _path(self, node: Trajectory, known: dict[Trajectory, tuple[float, ...]]) -> tuple[float, ...]:
        if node.step is None or node.parent is None:
            return ()
        if node not in known:
            known[node] = (*self._path(node.parent, known), _confidence(node.step))
        return known[node]


def _confidence(step: Step) -> float:
    if not step.logprobs:
        raise RewardError(
            f"reward logprob() cannot score the step {step.text[:60]!r}: it carries no log-probabilities "
            f"({len(step.tokens)} tokens, {step.forced} forced). Use an engine that returns log-probabilities."
        )
    if not all(logprob < math.inf for logprob in step.logprobs):
        raise RewardError(
            f"reward logprob() cannot score the step {step.text[:60]!r}: its log-probabilities are {step.logprobs}"
        )
    return math.exp(min(0.0, math.fsum(step.logprobs) / len(step.logprobs)))
