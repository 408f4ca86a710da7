"""An engine whose model's tokenizer and shape are known: it renders, encodes and prices by them, wherever it runs.

It moves no token: `submit` and `poll` are the business of the engines that build on it (local, naive, remote, vllm).
"""

from __future__ import annotations

from collections.abc import Mapping

from isoflop.asking import Prompt
from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import Engine
from isoflop.engines.local_text import Tokens


class ModelEngine(Engine):
    """See the module."""

    def __init__(self, tokens: Tokens, pricer: Pricer, context_tokens: int) -> None:
        self.tokens, self.pricer, self.context_tokens = tokens, pricer, context_tokens

    def render(self, prompt: Prompt) -> str:
        """Through the model's chat template where the prompt is a chat."""
        return self.tokens.render(prompt)

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """By the model's tokenizer."""
        return self.tokens.encode(text, prompt=prompt)

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """By formula."""
        return {"policy": self.pricer.prefill_cost(start, tokens)}

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """By formula."""
        return {"policy": self.pricer.decode_cost(start, tokens)}
