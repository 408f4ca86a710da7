"""What each request of the local engine took: FLOPs by formula, exactly; what a forward shares, by its rows' shares.

A forward's seconds and the bytes of its weights are divided over the tokens in it (a sequence that is only sampled
from counts as one); the rows add up what they bear. `serial_forwards` counts, for each forward, one row per search, so
that a search's requests add up to the forwards that it waited for. It is not a ledger: the driver charges.

    unit = meter.forward(units=64, ...); rows.bear(places, unit); meter.cost(account, rows.borne(0), ...)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost
from isoflop.cost.shape import ModelShape


@dataclass(frozen=True, slots=True)
class Shares:
    """What a unit (a token fed), or a row up to now, bears of the forwards; attention with its padding."""

    seconds: float = 0.0
    weight_bytes: float = 0.0
    attention_flops: float = 0.0


@dataclass(slots=True)
class Account:
    """What is known of one request's own work: `fed` known tokens behind `start` cached ones, and so on.

    `head`: whether logits were made for it at its start; a request that shares its neighbour's pays nothing.
    """

    start: int
    fed: int
    recomputed: int
    head: bool


class Meter:
    """Formula prices of one model."""

    def __init__(self, shape: ModelShape) -> None:
        self.pricer = Pricer(shape)
        self._windows = tuple(Counter(shape.windows).items())
        self._flops_per_key_and_layer = 4 * shape.query_width

    def attention_flops(self, pairs: Callable[[int | None], int]) -> int:
        """FLOPs of attention, given the query-key pairs that one layer of each window multiplied."""
        return sum(layers * self._flops_per_key_and_layer * pairs(window) for window, layers in self._windows)

    def forward(self, units: int, newest: int, tokens: int, logits: int, seconds: float, newest_flops: int) -> Shares:
        """What each unit bears of a forward; `newest_flops` is the attention of its `newest` tokens."""
        return Shares(
            seconds / max(units, 1),
            self.pricer.weight_bytes(tokens, logits) / max(units, 1),
            newest_flops / max(newest, 1),
        )

    def cost(self, account: Account, borne: Shares, sampled: int, held_tokens: int, serial_forwards: int) -> Cost:
        """What a request took that sampled so many tokens and bore so much of the forwards."""
        pricer, begin = self.pricer, account.start + account.fed
        decoded = max(0, sampled - 1)
        known = pricer.needed(account.start, account.fed, 1) if account.fed else 0
        if not account.fed and account.head:
            known = pricer.flops_per_logits
        linear = pricer.executed(account.fed + decoded, 0, decoded + account.head)
        return Cost(
            prefill_flops=known,
            decode_flops=pricer.decode(begin, decoded),
            executed_flops=linear + round(borne.attention_flops),
            weight_bytes=round(borne.weight_bytes),
            kv_read_bytes=pricer.kv_bytes_read_by_prefill(account.start, account.fed)
            + pricer.kv_bytes_read_by_decode(begin, decoded),
            kv_held_bytes=held_tokens * pricer.kv_bytes_per_token,
            serial_forwards=serial_forwards,
            prompt_tokens=account.fed - account.recomputed,
            cached_tokens=account.start,
            new_tokens=sampled,
            recomputed_tokens=account.recomputed,
            seconds=borne.seconds,
        )
