"""An engine that makes up text of assumed lengths and prices it as the real model would be: the plan's stand-in.

Strategies run on it unchanged, so a plan needs no formula of its own for any of them. What it writes means nothing, and
nothing it writes is kept: only lengths and prices are read. An engine that thinks has thoughts where its rule wants
them (`phantom_thoughts.py`), which cost what thoughts cost.

    Phantom(Pricer(load_shape("DIR")), Assumptions(solution_tokens=250))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from isoflop.asking import Prompt
from isoflop.core import Channel, Step, StepEnd, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.engines.base import Engine, Generation, GenerationRequest, Until
from isoflop.errors import StudyError
from isoflop.randomness import stream_key, uniform
from isoflop.rewards.base import Reward, Scores
from isoflop.studies.phantom_thoughts import PhantomThoughts
from isoflop.thought import Thought

COMMON_ANSWER = "1"  # what most samples say, and what a plan takes for right
_OTHER_ANSWERS = 1000
MARK_TOKENS = 2  # what a reward model's format puts behind a step


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a plan takes for granted; `source` says where it comes from.

    Prompts are `characters_per_token` long unless `prompt_tokens` is given. A solution has `solution_tokens`, in steps
    of `step_tokens`; where the prompt has a think block, `think_tokens` go before. `agreement` is the chance that a
    sample gives the most common answer (it decides when adaptive strategies stop). `gated` is the share of tokens that
    a gate lets think, `kept_drafts` that of tokens drafted ahead that stay. `discordant` is the share of problems on
    which two arms differ (it decides which differences can be seen).
    """

    solution_tokens: int = 200
    step_tokens: int = 25
    think_tokens: int = 1000
    prompt_tokens: int | None = None
    characters_per_token: float = 4.0
    agreement: float = 0.6
    gated: float = 0.1
    kept_drafts: float = 0.9
    discordant: float = 0.2
    source: str = "assumed"

    def __post_init__(self) -> None:
        for name in ("solution_tokens", "step_tokens", "think_tokens", "characters_per_token"):
            if not getattr(self, name) > 0:
                raise StudyError(f"plan: {name}={getattr(self, name)} must be above 0")
        if self.prompt_tokens is not None and self.prompt_tokens < 1:
            raise StudyError(f"plan: prompt_tokens={self.prompt_tokens} must be at least 1, or none to estimate it")
        for name in ("agreement", "gated", "kept_drafts", "discordant"):
            if not 0 < getattr(self, name) <= 1:
                raise StudyError(f"plan: {name}={getattr(self, name)} is a share: above 0, at most 1")


class Prices(Protocol):
    """What an engine or a shape's pricer says a forward takes, by role."""

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Appending known tokens."""

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Forwards of one token each."""


class Phantom(Engine):
    """See the module."""

    context_tokens = 2**31

    def __init__(self, prices: Prices, assumed: Assumptions, thoughts: PhantomThoughts | None = None) -> None:
        self._prices, self._assumed, self._thoughts = prices, assumed, thoughts
        self._thought: set[tuple[int, tuple[int, ...], int]] = set()
        self._ready: list[Generation] = []
        self._read: set[str] = set()

    def render(self, prompt: Prompt) -> str:
        """Contents and roles; what a template adds is a few tokens a message."""
        text = "".join(f"<|{role}|>\n{content}\n" for role, content in prompt.messages) + prompt.text
        opened = prompt.markers.think[0] if prompt.markers.think else ""
        return text + (prompt.assistant_prefix or opened)

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """As many tokens as assumed."""
        if prompt and self._assumed.prompt_tokens is not None:
            return (0,) * self._assumed.prompt_tokens
        return (0,) * math.ceil(len(text) / self._assumed.characters_per_token)

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Written at once."""
        for request in requests:
            steps = self._close(request) if request.closing else self._write(request)
            if self._thoughts is not None:
                steps = self._thoughts.added(request, steps)
            self._ready.append(Generation(request.id, tuple(steps), self._spent(request, steps)))

    def poll(self) -> list[Generation]:
        """All that was asked for."""
        ready, self._ready = self._ready, []
        return ready

    def cancel(self, ids: Sequence[int]) -> None:
        """Nothing is ever under way."""

    def release(self, search: str) -> None:
        """Forget that the prompt was read."""
        self._read.discard(search)

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """The model's price."""
        return self._prices.prefill_cost(start, tokens)

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """The model's price."""
        return self._prices.decode_cost(start, tokens)

    def thought_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """The model's price, where it thinks."""
        return self._thoughts.costs.most(start, tokens) if self._thoughts else {}

    def cost_of_thought(self, place: int, thought: Thought) -> Mapping[Role, Cost]:
        """The model's price."""
        return self._thoughts.costs.took(place, thought) if self._thoughts else {}

    def _write(self, request: GenerationRequest) -> list[Step]:
        steps: list[Step] = []
        parent, left, tokens = request.parent, request.max_tokens, request.parent.num_tokens
        while True:
            text, planned, channel, end = self._piece(parent, tokens, request.stream)
            size = min(planned, left)
            end = end if size == planned else StepEnd.CAP
            forced = (request.forced, request.forced_text) if not steps else ((), "")
            logprobs = (-uniform(request.stream, tokens),) * size
            own = forced[0] + (0,) * size
            steps.append(Step(forced[1] + text, own, logprobs, len(forced[0]), end=end, channel=channel))
            tokens, left = tokens + size, left - size
            think = parent.origin.prompt.markers.think
            closed = channel is Channel.VISIBLE or (think is not None and text == think[1])
            if end is not StepEnd.DELIMITER or request.until is Until.STEP or left == 0:
                return steps
            if request.until is Until.THINK and closed:
                return steps

    def _piece(self, parent: Trajectory, tokens: int, stream: int) -> tuple[str, int, Channel, StepEnd]:
        """Text, tokens, channel and end of the step that starts `tokens` tokens behind the prompt."""
        think = parent.origin.prompt.markers.think
        size = self._assumed.step_tokens
        thoughts = math.ceil(self._assumed.think_tokens / size) * size if think else 0
        if think and tokens < thoughts:
            text = think[1] if tokens + size >= thoughts else "thought\n"
            return text, size, Channel.THINK, StepEnd.DELIMITER
        left = thoughts + self._assumed.solution_tokens - tokens
        if left > size:
            return f"step of {stream}\n", size, Channel.VISIBLE, StepEnd.DELIMITER  # samples differ in their text
        return self._answer(stream), max(1, left), Channel.VISIBLE, StepEnd.END

    def _close(self, request: GenerationRequest) -> list[Step]:
        sampled = min(4, request.max_tokens)
        tokens = request.forced + (0,) * sampled
        text = request.forced_text + self._answer(request.stream).rpartition(" ")[2]
        return [Step(text, tokens, (-0.1,) * sampled, len(request.forced), end=StepEnd.CLOSED)]

    def _answer(self, stream: int) -> str:
        common = uniform(stream, -1) < self._assumed.agreement
        return f"The answer is {COMMON_ANSWER if common else 2 + int(uniform(stream, -2) * _OTHER_ANSWERS)}"

    def _spent(self, request: GenerationRequest, steps: Sequence[Step]) -> Mapping[Role, Cost]:
        """The prompt once a search, one token again at each fork, then token by token."""
        parent, search = request.parent, request.parent.origin.search
        start = parent.length - 1 if search in self._read else 0
        self._read.add(search)
        sampled = sum(step.sampled for step in steps)
        read = self._prices.prefill_cost(start, parent.length - start + len(request.forced))
        made = self._prices.decode_cost(parent.length + len(request.forced), max(0, sampled - 1))
        spent = Ledger()
        spent.charge_all(read)
        spent.charge_all(made)
        begin = parent.length
        for step in steps:
            for thought in step.thoughts:
                key = None if thought.number is None else (id(parent), request.forced, thought.number)
                if key is None or key not in self._thought:  # siblings share it
                    spent.charge_all(self.cost_of_thought(begin + thought.at, thought))
                if key is not None:
                    self._thought.add(key)
            begin += len(step.tokens)
        return spent.by_role()


class PhantomReward(Reward):
    """Rewards drawn at random. `pricer`: of the reward model's shape, which reads each step once, with a mark behind
    it; None where rewards are free, or their cost is not known."""

    def __init__(self, pricer: Pricer | None = None) -> None:
        self._pricer = pricer
        self._read: dict[str, set[Trajectory]] = {}

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Uniform, one number for each place in the tree."""
        rewards = tuple(tuple(_chance(node, depth + 1) for depth in range(node.depth)) for node in trajectories)
        return Scores(rewards, tuple(self._cost(node) for node in trajectories) if self._pricer else ())

    def price(self, parent: Trajectory, tokens: int) -> int:
        """Reading all of it."""
        whole = parent.length + tokens + MARK_TOKENS * (parent.depth + 1)
        return self._pricer.prefill(0, whole) if self._pricer else 0

    def release(self, search: str) -> None:
        """Forget the search."""
        self._read.pop(search, None)

    def _cost(self, node: Trajectory) -> Mapping[Role, Cost]:
        assert self._pricer is not None
        seen = self._read.setdefault(node.origin.search, set())
        known: Trajectory | None = node
        while known is not None and known not in seen:
            seen.add(known)
            known = known.parent
        start = 0 if known is None else known.length + MARK_TOKENS * known.depth
        tokens = node.length + MARK_TOKENS * node.depth - start
        return {"reward": self._pricer.prefill_cost(start, tokens)} if tokens else {}


def _chance(node: Trajectory, depth: int) -> float:
    path = [index + 1 for index in node.path[:depth]]
    return uniform(stream_key(0, f"reward|{node.origin.problem.id}", path), 0)
