"""What computes logits for a model's reward: passages in, logits at their reads out, with what each passage took.

Two do the same thing: `score_naive.py` encodes every passage anew, `score_cached.py` only what it has not read before.

    readings = scorer.read([Passage((1, 5, 6), reads=(2,))], searches=["a"])
    readings[0].logits, readings[0].cost
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost
from isoflop.rewards.encode import Passage


@dataclass(frozen=True, slots=True)
class Reading:
    """The logits at each read of one passage, what computing them took, and what it takes with nothing evicted."""

    logits: tuple[tuple[float, ...], ...]
    cost: Cost
    charged: Cost


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is foreseen of a path that grows: `known` tokens with `steps` reads, then at most `new` tokens with
    `new_steps` reads. `tail`: tokens that stand behind the text read, where each step is a passage of its own (else 0).
    `scored`: whether the known part has been read before."""

    known: int
    steps: int
    new: int
    new_steps: int
    tail: int
    scored: bool


class Scorer(ABC):
    """`context_tokens` is the longest passage that the model takes."""

    context_tokens: int

    @abstractmethod
    def read(self, passages: Sequence[Passage], searches: Sequence[str]) -> list[Reading]:
        """One reading for each passage; `searches` names the search that each belongs to."""

    @abstractmethod
    def price(self, outlook: Outlook) -> int:
        """FLOPs that reading the grown path takes at most."""

    def release(self, search: str) -> None:
        """Forget what is held for a search."""

    def close(self) -> None:
        """Free what is held."""


@dataclass(frozen=True, slots=True)
class HeadPrice:
    """What a decoder with a head costs: the head's FLOPs at each position read, and the bytes of its weights."""

    pricer: Pricer
    flops_per_read: int
    weight_bytes: int

    def flops(self, start: int, tokens: int, reads: int) -> int:
        """FLOPs needed by `tokens` tokens behind `start` cached ones, and by the head at `reads` positions."""
        return self.pricer.prefill(start, tokens, 0) + reads * self.flops_per_read

    def from_scratch(self, outlook: Outlook, *, apart: bool = False) -> int:
        """FLOPs of reading a grown path anew; `apart`, or where each text has a tail of its own: once for each step."""
        reads = outlook.steps + outlook.new_steps
        passages, each = (reads, 1) if outlook.tail or apart else (1, reads)
        return passages * self.flops(0, outlook.known + outlook.new + outlook.tail, each)

    def cost(self, start: int, tokens: int, reads: int, *, rows: int = 1) -> Cost:
        """The same as a cost, in a forward that `rows` passages share; nothing is said of `naive_flops`."""
        decoder, head = self.pricer.prefill_cost(start, tokens, 0, rows=rows), reads * self.flops_per_read
        return replace(
            decoder,
            prefill_flops=decoder.prefill_flops + head,
            executed_flops=decoder.executed_flops + head,
            weight_bytes=decoder.weight_bytes + (-(-self.weight_bytes // rows) if reads else 0),
        )
