"""Several rewards as one: the mean, the minimum or the product of what they say of each step.

specs.parse("reward", "ensemble([qwen_prm('a'), logprob()], combine='min')").open(RewardContext())
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from isoflop.core import Trajectory
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.errors import RewardError
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores, check_rewards, scores_of
from isoflop.rewards.owed import Owed
from isoflop.specs import require

Combine = Literal["mean", "min", "product"]


@dataclass(frozen=True)
class Ensemble(RewardSpec):
    """`ensemble([first, second, ..])`: all are asked, all are paid."""

    spec_name: ClassVar[str] = "ensemble"

    rewards: tuple[RewardSpec, ...] = field(metadata={"family": "reward"})
    combine: Combine = "mean"

    def __post_init__(self) -> None:
        require(len(self.rewards) >= 2, f"ensemble of {len(self.rewards)}: at least two rewards make one")
        heads = sorted({spec.head for spec in self.rewards if spec.head is not None})
        require(len(heads) <= 1, f"ensemble of the heads {', '.join(heads)}: an engine reads by one head")

    @property
    def head(self) -> str | None:
        """Its members' one."""
        return next((spec.head for spec in self.rewards if spec.head is not None), None)

    def open(self, context: RewardContext) -> Reward:
        """Open every member."""
        members: list[Reward] = []
        try:
            for spec in self.rewards:
                members.append(spec.open(context))
        except BaseException:
            for member in members:
                member.close()
            raise
        return EnsembleReward(members, self.combine)


class EnsembleReward(Reward):
    """It steers only where all its members may. Its raw logits are the members', one behind the other."""

    def __init__(self, members: Sequence[Reward], combine: Combine) -> None:
        self.members, self.combine = tuple(members), combine
        self.guides_search = all(member.guides_search for member in members)
        self.reads_logprobs = any(member.reads_logprobs for member in members)
        self.head = next((member.head for member in members if member.head is not None), None)
        self._owed_spent, self._owed_charged = Owed(), Owed()  # what members had computed when another one failed

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Raises RewardError where any member does: a missing opinion is not left out."""
        told = self._ask(trajectories)
        rewards, logits = [], []
        for index in range(len(trajectories)):
            steps = zip(*(scores.rewards[index] for scores in told), strict=True)
            rewards.append(tuple(_COMBINED[self.combine](step) for step in steps))
            raw = [scores.logits[index] for scores in told if scores.logits]
            logits.append(tuple(sum(step, ()) for step in zip(*raw, strict=True)))
        has_logits = any(scores.logits for scores in told)
        searches = [trajectory.origin.search for trajectory in trajectories]
        spent = self._owed_spent.settle(searches, _together([scores.spent for scores in told], len(searches)))
        charged = self._owed_charged.settle(searches, _together([scores.charged for scores in told], len(searches)))
        return Scores(tuple(rewards), spent, tuple(logits) if has_logits else (), charged)

    def price(self, parent: Trajectory, tokens: int) -> int:
        """All members' together."""
        return sum(member.price(parent, tokens) for member in self.members)

    def untold(self, search: str) -> tuple[Mapping[Role, Cost], Mapping[Role, Cost]]:
        """What members took before one failed, and what they have not told themselves."""
        spent, charged = Ledger(), Ledger()
        own = self._owed_spent.take(search), self._owed_charged.take(search)
        for first, second in [own, *(member.untold(search) for member in self.members)]:
            spent.charge_all(first)
            charged.charge_all(second)
        return spent.by_role(), charged.by_role()

    def release(self, search: str) -> None:
        """Tell every member."""
        self.untold(search)
        for member in self.members:
            member.release(search)

    def close(self) -> None:
        """Close every member."""
        for member in self.members:
            member.close()

    def _ask(self, trajectories: Sequence[Trajectory]) -> list[Scores]:
        told: list[Scores] = []
        try:
            for member in self.members:
                told.append(scores_of(member, trajectories))
                # A minimum or a mean would hide a number that is no reward.
                for trajectory, rewards in zip(trajectories, told[-1].rewards, strict=True):
                    check_rewards(trajectory, rewards)
        except RewardError:
            searches = [trajectory.origin.search for trajectory in trajectories]
            self._owed_spent.keep(searches, _together([scores.spent for scores in told], len(searches)))
            self._owed_charged.keep(searches, _together([scores.charged for scores in told], len(searches)))
            raise
        return told


def _together(members: Sequence[Sequence[Mapping[Role, Cost]]], count: int) -> list[Mapping[Role, Cost]]:
    """For each of `count` trajectories what all members took; one that says nothing was free."""
    books = [Ledger() for _ in range(count)]
    for costs in members:
        for book, cost in zip(books, costs, strict=False):
            book.charge_all(cost)
    return [book.by_role() for book in books]


_COMBINED: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "product": math.prod,
}
