"""What a reward is: `score(trajectories)` gives a number in [0, 1] for every step of each.

A reward never chooses and never aggregates: strategies allocate by it, and the vote aggregates steps with last, min,
prod or mean. A reward that cannot be computed is an error, never 0.

    reward = LogProb().open(RewardContext())
    reward.score([trajectory]).rewards[0]       # one number a step, root to leaf
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.cost.ledger import Cost, Role
from isoflop.errors import RewardError
from isoflop.specs import Spec


@dataclass(frozen=True, slots=True)
class Scores:
    """One tuple of step rewards for each trajectory, and what scoring it took, by role (empty where it was free).

    `logits`, where a model made the rewards: for each trajectory and step the raw numbers that it read. `charged`: what
    scoring takes where nothing has to be computed again because memory ran out; left out, it is what was spent.
    """

    rewards: tuple[tuple[float, ...], ...]
    spent: tuple[Mapping[Role, Cost], ...] = ()
    logits: tuple[tuple[tuple[float, ...], ...], ...] = ()
    charged: tuple[Mapping[Role, Cost], ...] = ()

    def __post_init__(self) -> None:
        if not self.charged:
            object.__setattr__(self, "charged", self.spent)

    def part(self, start: int, end: int) -> Scores:
        """The scores of trajectories start..end."""
        own = slice(start, end)
        return Scores(self.rewards[own], self.spent[own], self.logits[own], self.charged[own])


def check_rewards(trajectory: Trajectory, rewards: Sequence[object]) -> None:
    """Raise RewardError unless there is a number in [0, 1] for each step."""
    problem = trajectory.origin.problem.id
    if len(rewards) != trajectory.depth:
        raise RewardError(
            f"problem {problem!r}: the reward gave {len(rewards)} numbers for a trajectory of {trajectory.depth} steps"
        )
    for reward in rewards:
        # Written so that NaN is refused too.
        if not isinstance(reward, Real) or not 0.0 <= float(reward) <= 1.0:
            raise RewardError(f"the reward gave {reward!r} for problem {problem!r}; rewards are numbers in [0, 1]")


@dataclass(frozen=True, slots=True)
class RewardContext:
    """What a reward may need when it is opened: the problem set's final check, and its exact step oracle if it has one.

    `is_correct(trajectory)` is None where no answer can be read; `step_is_correct` says whether a path is right so far.
    """

    is_correct: Callable[[Trajectory], bool | None] | None = None
    step_is_correct: Callable[[Trajectory], bool] | None = None


class Reward(ABC):
    """An open reward. `guides_search` is False where it may select among complete solutions but not steer a search;
    `head` as of its spec. `reads_logprobs`: it goes by the log-probabilities of the policy's own tokens."""

    guides_search: bool = True
    reads_logprobs: bool = False
    head: str | None = None

    @abstractmethod
    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Step rewards for each trajectory, root to leaf, each in [0, 1]."""

    def price(self, parent: Trajectory, tokens: int) -> int:
        """FLOPs that scoring a child of `parent` with `tokens` new tokens of the policy takes at most (for budgets)."""
        return 0

    def untold(self, search: str) -> tuple[Mapping[Role, Cost], Mapping[Role, Cost]]:
        """(spent, charged): what was computed for a search and, as scoring failed, no scores have told. Told once."""
        return {}, {}

    def release(self, search: str) -> None:
        """Forget what is held for a finished search."""

    def close(self) -> None:
        """Free what the reward holds; safe to call twice."""


def scores_of(reward: Reward, trajectories: Sequence[Trajectory]) -> Scores:
    """What a reward says. Raises RewardError where it fails in any way, and where it leaves a trajectory out.

    The others would get wrong rewards.
    """
    try:
        scores = reward.score(trajectories)
    except RewardError:
        raise
    except Exception as error:  # a model out of memory, a server that is gone, a fault in someone's own reward
        raise RewardError(f"{type(reward).__name__} failed: {type(error).__name__}: {error}") from error
    for told in (scores.rewards, scores.spent or scores.rewards):
        if len(told) != len(trajectories):
            raise RewardError(f"{type(reward).__name__} answered for {len(told)} of {len(trajectories)} trajectories")
    return scores


@dataclass(frozen=True)
class RewardSpec(Spec, ABC):
    """A light description of a reward, e.g. `logprob()`."""

    spec_family: ClassVar[str] = "reward"
    sees_gold: ClassVar[bool] = False  # an upper bound: it never wins a comparison

    @property
    def head(self) -> str | None:
        """The folder of the head by which the engine has to read the policy's states for it; None for most."""
        return None

    @abstractmethod
    def open(self, context: RewardContext) -> Reward:
        """The reward itself. Raises RewardError where the context lacks what it needs."""
