"""The thoughts that a plan assumes: where a thinking engine would have them, empty, and with their price.

thoughts = PhantomThoughts(QuietStar("DIR", think="boundary"), Pricer(load_shape("DIR")), 0.1, 0.9)
steps = thoughts.added(request, steps)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isoflop.core import Step
from isoflop.cost.flops import Pricer
from isoflop.engines.base import GenerationRequest
from isoflop.quietstar.cost import ThinkingCosts
from isoflop.quietstar.engine import QuietStar, gate_of
from isoflop.randomness import uniform
from isoflop.thought import Thought

# Random numbers about the thought before a token stand behind those of all tokens of its stream.
_BEHIND_TOKENS = 1 << 32


class PhantomThoughts:
    """See the module. `costs` are the prices; `gated` and `kept_drafts` are shares: of tokens that a gate lets a
    thought be had before, and of tokens drafted ahead that stay."""

    def __init__(self, engine: QuietStar, pricer: Pricer, gated: float, kept_drafts: float) -> None:
        self._engine, self._kept_drafts = engine, kept_drafts
        self._gated = None if gate_of(engine.think) is None else gated
        self.costs = ThinkingCosts(pricer, engine.n_ahead, rides=self._gated is None, ahead=engine.ahead)

    def added(self, request: GenerationRequest, steps: Sequence[Step]) -> list[Step]:
        """The steps of a request with their thoughts."""
        found, index, filled = [], request.parent.num_tokens, False
        for number, step in enumerate(steps):
            thoughts: list[Thought] = []
            for at in range(step.forced, len(step.tokens)):
                first = at == step.forced
                if self._thinks(request.stream, index + at, first):
                    shared = self._number(request) if first and number == 0 else None
                    last = number == len(steps) - 1 and at == len(step.tokens) - 1
                    thought, filled = self._thought(request.stream, index + at, at, shared, filled, last)
                    thoughts.append(thought)
            found.append(replace(step, thoughts=tuple(thoughts)))
            index += len(step.tokens)
        return found

    def _thinks(self, stream: int, index: int, first: bool) -> bool:
        if self._gated is not None:
            return uniform(stream, _BEHIND_TOKENS + 2 * index) < self._gated
        return first or self._engine.think == "always"

    def _number(self, request: GenerationRequest) -> int | None:
        """Which of its node's thoughts, where siblings share them."""
        if self._engine.ahead:
            return None
        if self._engine.thoughts == "greedy":
            return 0
        shared = self._engine.thoughts_per_node
        return None if shared is None else request.child % shared

    def _thought(
        self, stream: int, index: int, at: int, number: int | None, filled: bool, last: bool
    ) -> tuple[Thought, bool]:
        """One thought, and whether drafts behind it stay. What was drafted behind the last token is dropped."""
        waited = dropped = 0
        if not self._engine.ahead:
            waited = self.costs.waited
        else:
            waited = 0 if filled else self.costs.waited
            filled = uniform(stream, _BEHIND_TOKENS + 2 * index + 1) < self._kept_drafts
            dropped = 0 if filled and not last else self.costs.waited
        return Thought(at, (), "", 0.0, "", "", number, waited, dropped), filled
