"""A reward that a model gives: trajectories -> passages -> logits -> a number in [0, 1] for every step.

The reward model has a tokenizer of its own and reads text, never the policy's tokens. It sees the problem's question
and the steps, not the policy's prompt. Thinking steps are steps like all others (`thinking="include"`), or left out
("skip"), as public models were trained; latent steps are never shown. A step that is not shown has the reward of the
last shown step before it, and one before all shown steps that of an empty solution: nothing is made up.

    reward = ModelReward(encoder, readout, scorer)
    scores = reward.score([trajectory])
    scores.rewards[0], scores.logits[0]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from isoflop.core import Channel, Step, Trajectory
from isoflop.cost.ledger import ZERO, Cost, Role
from isoflop.errors import ModelError, RewardError
from isoflop.rewards.base import Reward, Scores
from isoflop.rewards.encode import Encoder, Passage
from isoflop.rewards.format import ReadOut
from isoflop.rewards.owed import Owed
from isoflop.rewards.scorer import Outlook, Reading, Scorer

Thinking = Literal["include", "skip"]
# What the price assumes of text, as no text is known beforehand: a policy's token becomes at most two of the reward
# model's, a step has at least eight of the policy's on average, and at most four tokens at the end of a text are split
# otherwise once more text follows.
TOKENS_PER_TOKEN = 2
TOKENS_PER_STEP = 8
RESPLIT_TOKENS = 4


class ModelReward(Reward):
    """`last_only`: the model judges complete solutions, every step gets the value of the whole, and it cannot steer."""

    def __init__(
        self,
        encoder: Encoder,
        readout: ReadOut,
        scorer: Scorer,
        *,
        thinking: Thinking = "include",
        last_only: bool = False,
    ) -> None:
        self.encoder, self.readout, self.scorer = encoder, readout, scorer
        self.thinking, self.last_only = thinking, last_only
        self.guides_search = not last_only
        one, two = (encoder.encode("", [""] * count, last_only=True)[-1] for count in (1, 2))
        self._fixed_tokens = len(one.tokens)
        self._tokens_per_step = max(0, len(two.tokens) - len(one.tokens))
        self._seen: dict[str, set[Trajectory]] = {}  # by search, what has been scored
        self._lengths: dict[str, dict[Trajectory, int]] = {}  # by search, tokens of a path, for prices
        self._owed_spent, self._owed_charged = Owed(), Owed()

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Raises RewardError for a text that is too long or cannot be shown, and for logits that are not finite."""
        asked = [self._ask(each) for each in trajectories]
        passages = [passage for each in asked for passage in each.passages]
        owners = [each.search for each in asked for _ in each.passages]
        readings = iter(self.scorer.read(passages, owners))
        told = [list(islice(readings, len(each.passages))) for each in asked]
        searches = [each.search for each in asked]
        spent = [_sum([reading.cost for reading in own]) for own in told]
        charged = [_sum([reading.charged for reading in own]) for own in told]
        try:
            logits = tuple(
                _finite(each.of_steps(own), node) for node, each, own in zip(trajectories, asked, told, strict=True)
            )
        except RewardError:
            self._owed_spent.keep(searches, spent)
            self._owed_charged.keep(searches, charged)
            raise
        for trajectory in trajectories:
            self._seen.setdefault(trajectory.origin.search, set()).add(trajectory)
        rewards = tuple(tuple(to_reward(step, self.readout) for step in steps) for steps in logits)
        paid, due = self._owed_spent.settle(searches, spent), self._owed_charged.settle(searches, charged)
        return Scores(rewards, paid, logits, due)

    def price(self, parent: Trajectory, tokens: int) -> int:
        """An upper bound for text that keeps to the assumptions at the top of this file."""
        known, scored = self._known(parent), parent in self._seen.get(parent.origin.search, ())
        new_steps = 1 if self.last_only else 1 + tokens // TOKENS_PER_STEP
        new = RESPLIT_TOKENS + TOKENS_PER_TOKEN * tokens + self._tokens_per_step * new_steps
        steps = 0 if self.last_only else parent.depth
        tail = self._fixed_tokens if self.encoder.form.read == "end" else 0
        return self.scorer.price(Outlook(known, steps, new, new_steps, tail, scored))

    def untold(self, search: str) -> tuple[Mapping[Role, Cost], Mapping[Role, Cost]]:
        """What passages took whose logits were no rewards."""
        return self._owed_spent.take(search), self._owed_charged.take(search)

    def release(self, search: str) -> None:
        """Forget the search."""
        for held in (self._seen, self._lengths):
            held.pop(search, None)
        self.untold(search)
        self.scorer.release(search)

    def close(self) -> None:
        """Let go of the model."""
        self.scorer.close()

    def _ask(self, trajectory: Trajectory) -> _Asked:
        """A text that the format or the chat template cannot take is this problem's failure, not the model's."""
        try:
            return self._asked(trajectory)
        except ModelError as error:
            raise RewardError(f"problem {trajectory.origin.problem.id!r}: {error}") from error

    def _asked(self, trajectory: Trajectory) -> _Asked:
        question, search = trajectory.origin.problem.question, trajectory.origin.search
        steps = trajectory.steps
        shown = [index for index, step in enumerate(steps) if self._shows(step)]
        passages: list[Passage] = []
        places: list[int] = []
        if steps and (not shown or (shown[0] > 0 and not self.last_only)):
            passages += self.encoder.encode(question, [""])
        if shown:
            offset = len(passages)
            passages += self.encoder.encode(question, [steps[i].text for i in shown], last_only=self.last_only)
            seen = 0
            for index in range(len(steps)):
                seen += seen < len(shown) and shown[seen] == index
                places.append(0 if self.last_only else seen - 1 + offset)
        else:
            places = [0] * len(steps)
        for passage in passages:
            self._check_length(passage, trajectory)
        return _Asked(search, passages, places)

    def _known(self, parent: Trajectory) -> int:
        lengths = self._lengths.setdefault(parent.origin.search, {})
        if parent not in lengths:
            texts = [step.text for step in parent.steps if self._shows(step)] or [""]
            passages = self.encoder.encode(parent.origin.problem.question, texts, last_only=True)
            lengths[parent] = len(passages[-1].tokens)
        return lengths[parent]

    def _shows(self, step: Step) -> bool:
        return step.channel is Channel.VISIBLE or (step.channel is Channel.THINK and self.thinking == "include")

    def _check_length(self, passage: Passage, trajectory: Trajectory) -> None:
        limit = self.scorer.context_tokens
        if len(passage.tokens) > limit:
            raise RewardError(
                f"problem {trajectory.origin.problem.id!r}: question and {trajectory.depth} steps are "
                f"{len(passage.tokens)} tokens in the reward model's own tokenizer, and its context is {limit}; "
                "nothing is cut off: use a reward model with a longer context, or a smaller sampling(max_tokens=...)"
            )


def _sum(costs: Sequence[Cost]) -> Mapping[Role, Cost]:
    return {"reward": sum(costs, ZERO)} if costs else {}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A trajectory's passages, and which of their reads, one behind the other, each step gets."""

    search: str
    passages: list[Passage]
    places: list[int]

    def of_steps(self, readings: Sequence[Reading]) -> tuple[tuple[float, ...], ...]:
        reads = [logits for reading in readings for logits in reading.logits]
        return tuple(reads[place] for place in self.places)


def to_reward(logits: Sequence[float], readout: ReadOut) -> float:
    """The number in [0, 1] that the read-out makes of one position's logits."""
    if len(logits) == 1:
        return _sigmoid(logits[0])
    wanted = 0 if readout.kind == "tokens" else readout.positive
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    return weights[wanted] / math.fsum(weights)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _finite(steps: tuple[tuple[float, ...], ...], trajectory: Trajectory) -> tuple[tuple[float, ...], ...]:
    for number, logits in enumerate(steps, 1):
        if not all(map(math.isfinite, logits)):
            raise RewardError(
                f"problem {trajectory.origin.problem.id!r}: the reward model read {logits} for step {number} of "
                f"{len(steps)}; that is no reward. A half-precision overflow is the usual cause: dtype='float32'"
            )
    return steps
