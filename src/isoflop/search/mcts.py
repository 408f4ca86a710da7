"""Monte Carlo tree search over steps, PUCT (Silver et al. 2017): priors from log-probabilities, values from rewards.

A simulation walks down by PUCT to a node without children, grows `expand` children from it, scores them, and backs up
the reward of the best one. A child that has not been visited yet counts with its own reward, which is already paid for.
All solutions that were completed on the way vote; if none was, the most promising path is completed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Score, Search, Strategy
from isoflop.specs import require


@dataclass(frozen=True)
class MCTS(Strategy):
    """`mcts(simulations=16, expand=4, c=1.0)`: `c` weighs exploration against value."""

    spec_name: ClassVar[str] = "mcts"
    guided: ClassVar[bool] = True
    reads_logprobs: ClassVar[bool] = True

    simulations: int = 16
    expand: int = 4
    c: float = 1.0
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.simulations >= 1, f"mcts(simulations={self.simulations}): at least 1")
        require(self.expand >= 1, f"mcts(expand={self.expand}): at least 1")
        require(self.c >= 0, f"mcts(c={self.c}): must be 0 or more")

    def search(self, root: Trajectory) -> Search:
        """The simulations, one after another."""
        top = Node(root)
        finished: list[Trajectory] = []
        for _ in range(self.simulations):
            path = self._walk(top)
            leaf = path[-1]
            if leaf.trajectory.finished:
                _back_up(path, leaf.reward)
                continue
            [grown] = yield Expand((leaf.trajectory,), (self.expand,))
            rewards = yield Score(grown)
            leaf.grow(grown, [steps[-1] for steps in rewards])
            finished += [node for node in grown if node.finished]
            chosen = max(leaf.children, key=lambda child: child.reward)
            _back_up([*path, chosen], chosen.reward)
        if not finished:
            [finished] = yield Expand((_most_visited(top),), (1,), until=Until.END)
        return finished

    def _walk(self, top: Node) -> list[Node]:
        path = [top]
        while path[-1].children:
            node = path[-1]
            reach = self.c * math.sqrt(max(1, node.visits))
            path.append(max(node.children, key=lambda child: child.value + reach * child.prior / (1 + child.visits)))
        return path


@dataclass(slots=True, eq=False)
class Node:
    """Statistics of one trajectory: visits, sum of backed-up values, prior and own reward."""

    trajectory: Trajectory
    reward: float = 0.0
    prior: float = 1.0
    visits: int = 0
    total: float = 0.0
    children: list[Node] = field(default_factory=list)

    @property
    def value(self) -> float:
        """Mean backed-up value, or the own reward before the first visit."""
        return self.total / self.visits if self.visits else self.reward

    def grow(self, trajectories: list[Trajectory], rewards: list[float]) -> None:
        """Add children; priors are their steps' mean token probabilities, normalised among siblings."""
        odds = [_likelihood(trajectory) for trajectory in trajectories]
        self.children = [
            Node(trajectory, reward, likelihood / sum(odds))
            for trajectory, reward, likelihood in zip(trajectories, rewards, odds, strict=True)
        ]


def _likelihood(trajectory: Trajectory) -> float:
    # A server may hide some (NaN): those of a character that is split over tokens.
    logprobs = [one for one in trajectory.step.logprobs if not math.isnan(one)] if trajectory.step else []
    return math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else 1.0


def _back_up(path: list[Node], value: float) -> None:
    for node in path:
        node.visits += 1
        node.total += value


def _most_visited(node: Node) -> Trajectory:
    while node.children:
        node = max(node.children, key=lambda child: (child.visits, child.reward))
    return node.trajectory
