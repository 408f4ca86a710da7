"""A reward from the policy's own states: a small head on the hidden state that chose each step's last token.

The engine computes that state anyway and reads it by the head (`local(..., readout=path)`; the driver of a study asks
it to). What is left is a sigmoid, and with features a few numbers of the step's log-probabilities. It holds no model,
and costs two FLOPs a hidden number and step: the matrix products, as everywhere.

    specs.parse("reward", "trunk('heads/first')").open(RewardContext()).score([trajectory])

A head that shares the language model's trunk: Cobbe et al. 2021 (arXiv 2110.14168), verifier with a scalar head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isoflop.core import Trajectory
from isoflop.cost.ledger import Cost, Role
from isoflop.errors import RewardError
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores

if TYPE_CHECKING:
    from isoflop.rewards.head_folder import Head


@dataclass(frozen=True)
class Trunk(RewardSpec):
    """`trunk(path)`: `path` is the folder of a head that was trained on the policy."""

    spec_name: ClassVar[str] = "trunk"

    path: str

    @property
    def head(self) -> str:
        """The engine reads by it."""
        return self.path

    def open(self, context: RewardContext) -> Reward:
        """Raises ModelError where the folder holds no head."""
        from isoflop.rewards.head_folder import load_head

        return TrunkReward(self, load_head(self.path))


class TrunkReward(Reward):
    """The sigmoid of each step's logit; a step is worked out, and paid, once."""

    def __init__(self, spec: Trunk, head: Head) -> None:
        self.spec, self.head, self._by = spec, spec.path, head
        features = 0 if head.features is None else len(head.features.weight_F)
        self.flops_per_step = 2 * (head.hidden_size + features)
        self._known: dict[str, dict[Trajectory, float]] = {}  # by search, the logits of steps

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Raises RewardError for a step without a read-out."""
        fresh: dict[Trajectory, float] = {}
        spent: list[Mapping[Role, Cost]] = []
        for each in trajectories:
            new = {node: self._logit(node) for node in self._unscored(each) if node not in fresh}
            fresh |= new
            flops = len(new) * self.flops_per_step
            spent.append({"reward": Cost(prefill_flops=flops, executed_flops=flops)} if new else {})
        # Only now: where one step fails, none of them is told, and none counts as paid.
        for node, logit in fresh.items():
            self._known.setdefault(node.origin.search, {})[node] = logit
        logits = [self._path(each) for each in trajectories]
        rewards = tuple(tuple(map(_sigmoid, path)) for path in logits)
        return Scores(rewards, tuple(spent), tuple(tuple((logit,) for logit in path) for path in logits))

    def price(self, parent: Trajectory, tokens: int) -> int:
        """As if each token were a step."""
        return (len(self._unscored(parent)) + max(1, tokens)) * self.flops_per_step

    def release(self, search: str) -> None:
        """Forget the search's steps."""
        self._known.pop(search, None)

    def _unscored(self, trajectory: Trajectory) -> list[Trajectory]:
        known = self._known.get(trajectory.origin.search, {})
        found: list[Trajectory] = []
        node: Trajectory | None = trajectory
        while node is not None and node.step is not None and node not in known:
            found.append(node)
            node = node.parent
        return found

    def _path(self, trajectory: Trajectory) -> list[float]:
        """Logits from the root on."""
        found: list[float] = []
        node: Trajectory | None = trajectory
        while node is not None and node.step is not None:
            found.append(self._known[node.origin.search][node])
            node = node.parent
        return found[::-1]

    def _logit(self, node: Trajectory) -> float:
        *before, step = node.steps
        if not step.readouts:
            raise RewardError(
                f"reward {self.spec} cannot score the step {step.text[:60]!r}: it carries no read-out. Steps are read "
                f"while they are generated, by an engine such as local(..., readout={self.head!r})"
            )
        if self._by.features is not None and not step.logprobs:
            raise RewardError(
                f"reward {self.spec} cannot score the step {step.text[:60]!r}: its head weighs the step's "
                f"log-probabilities and it carries none ({len(step.tokens)} tokens, {step.forced} forced)"
            )
        logit = self._by.logit(step.readouts[0], step.logprobs, [value for each in before for value in each.logprobs])
        if not math.isfinite(logit):
            raise RewardError(
                f"reward {self.spec} read {logit} for the step {step.text[:60]!r}; that is no reward. A half-precision "
                "overflow of the policy is the usual cause: dtype='float32'"
            )
        return logit


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
