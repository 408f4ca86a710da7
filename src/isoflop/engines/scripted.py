"""A real engine without a model: it solves problems by rolling dice, repeatably, and counts what it does by itself.

Each step of a solution slips with probability 1 - `skill` by 1 to 9; the final answer is the gold answer plus all
slips, so a path is right exactly when no step slipped, and a slip has a lower log-probability. A token is a character.
The engine keeps the whole contract of `base.py` (caps, forced tokens, closing, cancelling, repeatable streams), which
makes it the double-entry partner of driver and ledger: `counted_*` is what it saw itself do, added up token by token.

    engine = Scripted(steps=3, skill=0.8).open()

It is not a simulator of any real model, and its figures say nothing about one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from isoflop.asking import Prompt
from isoflop.core import Channel, Step, StepEnd, Trajectory
from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import Engine, EngineSpec, Generation, GenerationRequest, Until
from isoflop.randomness import uniform
from isoflop.specs import require

FLOPS_PER_TOKEN = 1000  # plus one for every token of context: any positive law does for double entry


@dataclass(frozen=True)
class Scripted(EngineSpec):
    """`steps` steps per solution, each right with probability `skill`.

    `tokens_per_poll` makes long generations take more polls than short ones (0: all finish at the next poll);
    `sleep_seconds` is slept at each poll. Problems whose id is listed in `broken` fail, in `endless` never end by
    themselves, in `mute` never give an answer.
    """

    spec_name: ClassVar[str] = "scripted"

    steps: int = 3
    skill: float = 0.7
    tokens_per_poll: int = 0
    sleep_seconds: float = 0.0
    context_tokens: int = 4096
    broken: tuple[str, ...] = ()
    endless: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"scripted(steps={self.steps}): at least 1")
        require(0 <= self.skill <= 1, f"scripted(skill={self.skill}): a probability, 0 to 1")

    def open(self) -> ScriptedEngine:
        """The engine."""
        return ScriptedEngine(self)


class ScriptedEngine(Engine):
    """See the module. `counted` is the engine's own book: (FLOPs, tokens prefilled, tokens made)."""

    def __init__(self, spec: Scripted) -> None:
        self.spec = spec
        self.context_tokens = spec.context_tokens
        self.polls = 0
        self.counted_flops = 0
        self.counted_prefill_tokens = 0
        self.counted_new_tokens = 0
        self._queue: list[tuple[int, Generation]] = []
        self._cancelled: set[int] = set()
        self._read: dict[str, set[int]] = {}  # by search: nodes after which the next token's distribution is known
        self._known: dict[str, dict[Trajectory, tuple[int, int]]] = {}  # by search: `_progress` of its nodes

    def render(self, prompt: Prompt) -> str:
        """Messages are written one a line, `role: content`."""
        lines = [f"{role}: {content}" for role, content in prompt.messages]
        return "\n".join([*lines, prompt.text]) if lines else prompt.text + prompt.assistant_prefix

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """A token is a character."""
        return tuple(map(ord, text))

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """All work is done here; `poll` only hands it out when its time has come."""
        for request in requests:
            generation = self._generate(request)
            made = sum(step.sampled for step in generation.steps)
            wait = math.ceil(made / self.spec.tokens_per_poll) if self.spec.tokens_per_poll else 1
            self._queue.append((self.polls + max(1, wait), generation))

    def poll(self) -> list[Generation]:
        """What is due at this poll."""
        self.polls += 1
        if self.spec.sleep_seconds:
            time.sleep(self.spec.sleep_seconds)
        done = [item for due, item in self._queue if due <= self.polls or item.id in self._cancelled]
        self._queue = [entry for entry in self._queue if entry[0] > self.polls and entry[1].id not in self._cancelled]
        if not self._cancelled:
            return done
        cut = [Generation(i.id, (), i.spent, i.seconds, cancelled=True) if i.id in self._cancelled else i for i in done]
        self._cancelled.clear()
        return cut

    def cancel(self, ids: Sequence[int]) -> None:
        """Cancelled requests come back at the next poll, charged for the work already done."""
        waiting = {item.id for _, item in self._queue}
        self._cancelled.update(waiting.intersection(ids))

    def release(self, search: str) -> None:
        """Forget the search."""
        self._read.pop(search, None)
        self._known.pop(search, None)

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """The price list: FLOPS_PER_TOKEN + context for each token, summed in closed form."""
        flops = _price(start, tokens)
        return {"policy": Cost(prefill_flops=flops, executed_flops=flops, serial_forwards=1, prompt_tokens=tokens)}

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """The same price for tokens that are made one by one."""
        flops = _price(start, tokens)
        return {"policy": Cost(decode_flops=flops, executed_flops=flops, serial_forwards=tokens)}

    def _generate(self, request: GenerationRequest) -> Generation:
        problem = request.parent.origin.problem
        if problem.id in self.spec.broken:
            return Generation(request.id, (), error=f"scripted engine: problem {problem.id!r} is declared broken")
        steps = self._close(request) if request.closing else self._write(request)
        return Generation(request.id, tuple(steps), {"policy": self._count(request, steps)})

    def _write(self, request: GenerationRequest) -> list[Step]:
        """Steps until the request says stop, cut at its token cap."""
        parent = request.parent
        written, slips = self._progress(parent)
        position, left = parent.num_tokens + len(request.forced), request.max_tokens
        think = parent.origin.prompt.markers.think
        thinking = parent.thinking and think is not None and think[1] not in request.forced_text
        steps: list[Step] = []
        while True:
            draw = 0.0 if request.temperature == 0 else uniform(request.stream, position)
            text, slip, end = self._next(parent, written, slips, draw, thinking)
            cut = text[:left]
            end = end if len(cut) == len(text) else StepEnd.CAP
            channel = Channel.THINK if thinking else Channel.VISIBLE
            forced, forced_text = ((), "") if steps else (request.forced, request.forced_text)
            logprob = math.log(self.spec.skill or 0.5) if not slip else math.log((1 - self.spec.skill) / 9)
            logprobs = (logprob / len(text),) * len(cut)
            tokens = forced + tuple(map(ord, cut))
            steps.append(Step(forced_text + cut, tokens, logprobs, len(forced), end, channel))
            written, position, left = written + 1, position + len(cut), left - len(cut)
            slips += slip
            closed = thinking and not text.startswith("step ")
            thinking = thinking and not closed
            if end is not StepEnd.DELIMITER or left == 0 or _stops(request.until, closed):
                return steps

    def _progress(self, node: Trajectory) -> tuple[int, int]:
        """Steps written and slips made so far, read off the text, each node's once."""
        if node.step is None or node.parent is None:
            return 0, 0
        known = self._known.setdefault(node.origin.search, {})
        if node not in known:
            written, slips = self._progress(node.parent)
            known[node] = written + node.step.text.count("step "), slips + _slips(node.step.text)
        return known[node]

    def _next(
        self, parent: Trajectory, written: int, slips: int, draw: float, thinking: bool
    ) -> tuple[str, int, StepEnd]:
        """The next step's text, how much it slips by, and how it ends. Inside a think block the steps are thoughts."""
        problem = parent.origin.problem
        if written < self.spec.steps or problem.id in self.spec.endless:
            slip = 0
            if draw >= self.spec.skill:
                slip = 1 + int((draw - self.spec.skill) / (1 - self.spec.skill) * 8.999)
            return f"step {written + 1} slips {slip}\n", slip, StepEnd.DELIMITER
        if thinking and parent.origin.prompt.markers.think is not None:
            return parent.origin.prompt.markers.think[1], 0, StepEnd.DELIMITER
        if problem.id in self.spec.mute:
            return "I will not tell.", 0, StepEnd.END
        return f"The answer is {_gold(parent) + slips}", 0, StepEnd.END

    def _close(self, request: GenerationRequest) -> list[Step]:
        """What follows the forced answer prefix: the answer so far, a missing step counting as a slip of 1."""
        parent = request.parent
        steps, slips = self._progress(parent)
        missing = max(0, self.spec.steps - steps)
        problem = parent.origin.problem
        text = "..." if problem.id in self.spec.mute else f" {_gold(parent) + slips + missing}"
        sampled = tuple(map(ord, text[: request.max_tokens]))
        written = request.forced_text + text[: request.max_tokens]
        logprobs = (-0.1,) * len(sampled)
        return [Step(written, request.forced + sampled, logprobs, len(request.forced), StepEnd.CLOSED)]

    def _count(self, request: GenerationRequest, steps: Sequence[Step]) -> Cost:
        """Token by token, on purpose without the closed form that the driver uses."""
        sampled = sum(step.sampled for step in steps)
        start, first = self._unread(request)
        prefill = 0
        for context in range(start + 1, start + first + 1):
            prefill += FLOPS_PER_TOKEN + context
        decode = 0
        for context in range(start + first + 1, start + first + sampled):
            decode += FLOPS_PER_TOKEN + context
        self.counted_flops += prefill + decode
        self.counted_prefill_tokens += first
        self.counted_new_tokens += sampled
        return Cost(
            prefill_flops=prefill,
            decode_flops=decode,
            executed_flops=prefill + decode,
            serial_forwards=sampled,
            prompt_tokens=first,
            cached_tokens=start,
            new_tokens=sampled,
        )

    def _unread(self, request: GenerationRequest) -> tuple[int, int]:
        """How many tokens are cached, and how many known ones must be read before the first can be sampled."""
        parent = request.parent
        known_search = parent.origin.search in self._read
        read = self._read.setdefault(parent.origin.search, set())
        if not request.forced and id(parent) in read:
            return parent.length, 0
        if not request.forced:
            read.add(id(parent))
        start = parent.length - 1 if known_search else 0
        return start, parent.length - start + len(request.forced)


def _price(start: int, tokens: int) -> int:
    return tokens * FLOPS_PER_TOKEN + tokens * start + tokens * (tokens + 1) // 2


def _stops(until: Until, closed: bool) -> bool:
    return until is Until.STEP or (until is Until.THINK and closed)


def _gold(parent: Trajectory) -> int:
    try:
        return int(parent.origin.problem.answer or 0)
    except ValueError:
        return 0


def _slips(text: str) -> int:
    return sum([int(line.rpartition(" ")[2] or 0) for line in text.split("\n")[:-1] if " slips " in line])
