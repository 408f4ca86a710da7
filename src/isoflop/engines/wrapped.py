"""An engine around an engine: passes everything on. Wrappers override what they change (`pool.py`).

class Loud(Wrapped):
    def poll(self): print("poll"); return self.inner.poll()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isoflop.asking import Prompt
from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import Engine, Generation, GenerationRequest
from isoflop.thought import Thought


class Wrapped(Engine):
    """See the module. `inner` is the engine that does the work."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities
        self.context_tokens = inner.context_tokens
        # Prices are asked for at every step, and nobody changes them: one call instead of one a layer.
        self.prefill_cost = inner.prefill_cost  # type: ignore[method-assign]
        self.decode_cost = inner.decode_cost  # type: ignore[method-assign]
        self.thought_cost = inner.thought_cost  # type: ignore[method-assign]
        self.cost_of_thought = inner.cost_of_thought  # type: ignore[method-assign]

    def render(self, prompt: Prompt) -> str:
        """As the inner engine."""
        return self.inner.render(prompt)

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """As the inner engine."""
        return self.inner.encode(text, prompt=prompt)

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """As the inner engine."""
        self.inner.submit(requests)

    def poll(self) -> list[Generation]:
        """As the inner engine."""
        return self.inner.poll()

    def cancel(self, ids: Sequence[int]) -> None:
        """As the inner engine."""
        self.inner.cancel(ids)

    def release(self, search: str) -> None:
        """As the inner engine."""
        self.inner.release(search)

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """As the inner engine."""
        return self.inner.prefill_cost(start, tokens)

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """As the inner engine."""
        return self.inner.decode_cost(start, tokens)

    def thought_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """As the inner engine."""
        return self.inner.thought_cost(start, tokens)

    def cost_of_thought(self, place: int, thought: Thought) -> Mapping[Role, Cost]:
        """As the inner engine."""
        return self.inner.cost_of_thought(place, thought)

    def close(self) -> None:
        """As the inner engine."""
        self.inner.close()
