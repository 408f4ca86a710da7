"""What each request of the local engine took: FLOPs by formula, exactly; what a forward shares, by its rows' shares.

A forward's seconds and the bytes of its weights are divided over the tokens in it (a sequence that is only sampled
from counts as one). Those shares are the same for all decoding rows, so running sums over all forwards do: a request
takes the difference between its last and its first. `serial_forwards` counts, for each forward, one row per search, so
that a search's requests add up to the forwards that it waited for. It is not a ledger: the driver charges.

    unit = meter.forward(units=64, ...); account.begin(unit, 1, 0, meter.shares); meter.cost(account, ...)
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
    """Running sums of what one unit (a token fed) bears of each forward, and what a decoding row multiplies in vain."""

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
    first: Shares = Shares()
    own: Shares = Shares()  # its part of the forward that it began with

    def begin(self, unit: Shares, units: int, attention_flops: int, first: Shares) -> None:
        """Note its part of the forward that it began with; from `first` on the running sums tell."""
        self.own = Shares(unit.seconds * units, unit.weight_bytes * units, attention_flops)
        self.first = first


class Meter:
    """Formula prices of one model, and the running sums."""

    def __init__(self, shape: ModelShape) -> None:
        self.pricer = Pricer(shape)
        self.shares = Shares()
        self._windows = tuple(Counter(shape.windows).items())
        self._flops_per_key_and_layer = 4 * shape.query_width

    def attention_flops(self, pairs: Callable[[int | None], int]) -> int:
        """FLOPs of attention, given the query-key pairs that one layer of each window multiplied."""
        return sum(layers * self._flops_per_key_and_layer * pairs(window) for window, layers in self._windows)

    def forward(self, units: int, decoding: int, tokens: int, logits: int, seconds: float, decode_flops: int) -> Shares:
        """Book one forward; returns what each unit bears of it. `decode_flops`: attention of the decoding rows."""
        unit = Shares(
            seconds / max(units, 1),
            self.pricer.weight_bytes(tokens, logits) / max(units, 1),
            decode_flops / max(decoding, 1),
        )
        total = self.shares
        self.shares = Shares(
            total.seconds + unit.seconds,
            total.weight_bytes + unit.weight_bytes,
            total.attention_flops + unit.attention_flops,
        )
        return unit

    def cost(self, account: Account, sampled: int, held_tokens: int, serial_forwards: int) -> Cost:
        """What a request took that sampled so many tokens."""
        pricer, begin = self.pricer, account.start + account.fed
        decoded = max(0, sampled - 1)
        known = pricer.needed(account.start, account.fed, 1) if account.fed else 0
        if not account.fed and account.head:
            known = pricer.flops_per_logits
        shared, own, first = self.shares, account.own, account.first
        attention = own.attention_flops + shared.attention_flops - first.attention_flops
        linear = pricer.executed(account.fed + decoded, 0, decoded + account.head)
        return Cost(
            prefill_flops=known,
            decode_flops=pricer.decode(begin, decoded),
            executed_flops=linear + round(attention),
            weight_bytes=round(own.weight_bytes + shared.weight_bytes - first.weight_bytes),
            kv_read_bytes=pricer.kv_bytes_read_by_prefill(account.start, account.fed)
            + pricer.kv_bytes_read_by_decode(begin, decoded),
            kv_held_bytes=held_tokens * pricer.kv_bytes_per_token,
            serial_forwards=serial_forwards,
            prompt_tokens=account.fed - account.recomputed,
            cached_tokens=account.start,
            new_tokens=sampled,
            recomputed_tokens=account.recomputed,
            seconds=own.seconds + shared.seconds - first.seconds,
        )
