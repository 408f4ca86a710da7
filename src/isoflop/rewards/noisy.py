"""A reward made worse on purpose: noise on its logits, so that one can see how good a reward has to be.

    specs.parse("reward", "noisy(trunk('heads/first'), sigma=4.0)").open(RewardContext())

The noise belongs to the path: whoever scores a step again is told the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from scipy.special import expit, logit, ndtri

from isoflop.core import Trajectory
from isoflop.cost.ledger import Cost, Role
from isoflop.randomness import stream_key, uniform
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores, scores_of
from isoflop.specs import require

_SUREST = 1e-9  # nearer to 0 or 1 no reward is taken to be: noise on an infinite logit would change nothing


@dataclass(frozen=True)
class Noisy(RewardSpec):
    """`noisy(reward, sigma=1.0, seed=0)`: Gaussian noise of deviation `sigma` on every step's logit."""

    spec_name: ClassVar[str] = "noisy"

    reward: RewardSpec = field(metadata={"family": "reward"})
    sigma: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.sigma >= 0, f"noisy(sigma={self.sigma}): 0 or more, a deviation in logits")

    @property
    def head(self) -> str | None:
        """The reward's own."""
        return self.reward.head

    def open(self, context: RewardContext) -> Reward:
        """Open the reward."""
        return NoisyReward(self.reward.open(context), self.sigma, self.seed)


class NoisyReward(Reward):
    """What the reward says, costs and needs, but for the noise; its raw logits are told as they are."""

    def __init__(self, reward: Reward, sigma: float, seed: int) -> None:
        self.reward, self.sigma, self.seed = reward, sigma, seed
        self.guides_search, self.reads_logprobs, self.head = reward.guides_search, reward.reads_logprobs, reward.head

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Raises RewardError where the reward does."""
        told = scores_of(self.reward, trajectories)
        if self.sigma == 0:
            return told
        return replace(told, rewards=tuple(map(self._noisy, trajectories, told.rewards)))

    def _noisy(self, trajectory: Trajectory, rewards: Sequence[float]) -> tuple[float, ...]:
        origin = trajectory.origin
        noisy = []
        for depth, reward in enumerate(rewards, 1):
            key = stream_key(self.seed, f"noise|{origin.seed}|{origin.problem.id}", trajectory.path[:depth])
            sure = min(max(reward, _SUREST), 1 - _SUREST)
            noisy.append(float(expit(logit(sure) + self.sigma * ndtri(uniform(key, depth)))))
        return tuple(noisy)

    def price(self, parent: Trajectory, tokens: int) -> int:
        """The reward's."""
        return self.reward.price(parent, tokens)

    def untold(self, search: str) -> tuple[Mapping[Role, Cost], Mapping[Role, Cost]]:
        """The reward's."""
        return self.reward.untold(search)

    def release(self, search: str) -> None:
        """Tell the reward."""
        self.reward.release(search)

    def close(self) -> None:
        """Close the reward."""
        self.reward.close()
