"""What an engine is: `submit` requests, `poll` for finished generations. Nothing else moves tokens.

An engine never decides what to generate and never books a cost: it says in each `Generation` what that took, and the
driver charges it. The local engine advances every live sequence by one token per `poll`; a remote one collects what its
server has finished; the scripted one is a real, deterministic engine for tests.

    engine.submit([GenerationRequest(id=1, parent=root, stream=key, temperature=1.0, max_tokens=64)])
    while not (done := engine.poll()): ...
    done[0].steps
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar

from isoflop.asking import Prompt
from isoflop.core import Step, Trajectory
from isoflop.cost.ledger import Cost, Role
from isoflop.errors import SpecError
from isoflop.specs import Spec
from isoflop.thought import Thought


class Until(StrEnum):
    """Where a generation stops: after one step, at the close of the think block, or when the solution is complete."""

    STEP = "step"
    THINK = "think"
    END = "end"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; a strategy that needs more is refused with the reason.

    `token_ids`: steps carry token ids; `continues`: generation goes on from any trajectory; `repeatable`: the same
    stream gives the same tokens; `logprobs`: steps carry log-probabilities; `readout`: the head folder by which each
    generated step carries read-outs.
    """

    token_ids: bool = True
    continues: bool = True
    repeatable: bool = True
    logprobs: bool = True
    readout: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Go on from `parent`: first the `forced` tokens (text `forced_text`), then at most `max_tokens` sampled ones.

    `stream` keys the random numbers; the token at index i of the trajectory (prompt excluded, forced tokens counted)
    draws `randomness.uniform(stream, i)`. `temperature` 0 is greedy. The parent's prompt markers say what ends a step;
    `stop` overrides the markers' stop strings where given (used while force-closing). `closing` marks a forced close:
    whatever the sampled tokens are, the result is complete. `child`: which of its parent's children it will be.
    """

    id: int
    parent: Trajectory
    stream: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 1
    until: Until = Until.STEP
    forced: tuple[int, ...] = ()
    forced_text: str = ""
    stop: tuple[str, ...] | None = None
    closing: bool = False
    child: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """The reply to one request: one step, or several where it ran past step ends; the last one's `end` says why.

    `steps` is empty only where `error` says why, or where a cancelled request had made no token. `spent` is what was
    computed for it, by role; `seconds` is its own share of the engine's busy time, also where `spent` is nothing
    because the result was already known.
    """

    id: int
    steps: tuple[Step, ...]
    spent: Mapping[Role, Cost] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    cancelled: bool = False


class Engine(ABC):
    """An open engine. Specs open one: `spec.open()`; it is closed when done (`with closing(engine)`)."""

    capabilities: Capabilities = Capabilities()
    context_tokens: int

    @abstractmethod
    def render(self, prompt: Prompt) -> str:
        """The prompt's text: plain text as it is, messages through the model's chat template."""

    @abstractmethod
    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; `prompt=True` adds what the model wants at the very start (BOS) unless it is there."""

    @abstractmethod
    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Take requests; never blocks on generation."""

    @abstractmethod
    def poll(self) -> list[Generation]:
        """Advance, and return what is finished (possibly nothing). With nothing submitted it returns an empty list."""

    @abstractmethod
    def cancel(self, ids: Sequence[int]) -> None:
        """Stop these requests; each still comes back through `poll`, `cancelled`, with what it had made and spent."""

    @abstractmethod
    def release(self, search: str) -> None:
        """Forget what is held for a finished search."""

    @abstractmethod
    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """What appending `tokens` known tokens to `start` cached ones takes, logits at the last one, by formula."""

    @abstractmethod
    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """What `tokens` single-token forwards after `start` cached tokens take, logits at each, by formula."""

    def thought_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """What thoughts before each of `tokens` tokens sampled behind `start` known ones take, by formula: of all that
        may be thought, the most. Steps say which thoughts there were. Nothing where the engine does not think."""
        return {}

    def cost_of_thought(self, place: int, thought: Thought) -> Mapping[Role, Cost]:
        """What one of a step's thoughts took, behind `place` tokens, by formula."""
        return self.thought_cost(place, 1)

    def close(self) -> None:
        """Free what the engine holds; safe to call twice."""


@dataclass(frozen=True)
class EngineSpec(Spec, ABC):
    """A light description of an engine, e.g. `local(model='...')`; heavy things are loaded by `open` alone."""

    spec_family: ClassVar[str] = "engine"

    @abstractmethod
    def open(self) -> Engine:
        """The engine itself. Raises ModelError or EngineError with the reason."""

    @property
    def priced_by(self) -> str | None:
        """What its model's shape is read from; None where there is no model, and the open engine prices itself."""
        return getattr(self, "model", None)

    def reading(self, head: str) -> EngineSpec:
        """This engine, whose steps carry what that head reads. Raises SpecError where it has nothing to read."""
        if not hasattr(self, "readout"):
            raise SpecError(
                f"a head on the policy's own states ({head!r}) needs them, and {self} does not show any; "
                "engines with a field `readout` do: local, quietstar, naive"
            )
        if self.readout not in (None, head):
            raise SpecError(f"{self} reads by another head than the reward's, {head!r}; leave readout out")
        return replace(self, readout=head)  # type: ignore[call-arg]
