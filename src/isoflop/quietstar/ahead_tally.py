"""What thinking ahead takes, counted sequence by sequence as it happens; by formula: `ThoughtPricer.ahead`.

tally = Tally(slots=64, prices=prices)
tally.add(rows, stages, ends, unit, attention_flops); tally.drop(slot, anchor=17, tokens=5)
tally.take(slot, held_tokens=42)                # the Cost so far; the slot begins anew
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum

import numpy as np

from isoflop.cost.ledger import Cost
from isoflop.engines.local_cost import Shares
from isoflop.quietstar.cost import ThoughtPricer
from isoflop.runtime.attention import Block, Ints


class _Of(IntEnum):
    """Columns."""

    ROWS = 0  # through the layers
    CHOSEN = 1  # thought tokens chosen
    ENDED = 2  # thoughts that were mixed
    DRAFTS = 3  # drafted tokens fed and dropped
    PAIRS = 4  # query-key pairs of all layers that causality and windows leave
    OWN_READ = 5  # a thought's own keys read, one layer
    SECONDS = 6
    WEIGHT_BYTES = 7
    ATTENTION_FLOPS = 8  # multiplied, padding included
    WAITED = 9  # forwards


class Tally:
    """See the module. Sums are whole numbers below 2**53, or measured."""

    def __init__(self, slots: int, prices: ThoughtPricer) -> None:
        self._prices = prices
        self._layers = prices.pricer.shape.layers
        self._windows = tuple(Counter(prices.pricer.shape.windows).items())
        self._sums_SC = np.zeros((slots, len(_Of)))

    def add(self, rows: Block, stages: Ints, ends: Block, unit: Shares, attention_flops: int) -> None:
        """The rows of thoughts in one forward, each with how many inputs went before, and those that end thoughts."""
        assert rows.anchors is not None
        assert ends.anchors is not None
        ending = stages == self._prices.sampled
        sums_RC = np.zeros((len(rows.slots) + len(ends.slots), len(_Of)))
        first, last = slice(0, len(rows.slots)), slice(len(rows.slots), None)
        sums_RC[:, _Of.ROWS] = 1
        sums_RC[first, _Of.CHOSEN], sums_RC[first, _Of.ENDED] = ~ending, ending
        sums_RC[first, _Of.PAIRS] = self._seen(rows.anchors) + self._layers * (stages + 1)
        sums_RC[last, _Of.PAIRS] = self._seen(ends.anchors) + self._layers * self._prices.inputs
        sums_RC[first, _Of.OWN_READ] = stages + 1
        sums_RC[last, _Of.OWN_READ] = 1
        sums_RC[:, _Of.SECONDS], sums_RC[:, _Of.WEIGHT_BYTES] = unit.seconds, unit.weight_bytes
        sums_RC[:, _Of.ATTENTION_FLOPS] = attention_flops / len(sums_RC)
        np.add.at(self._sums_SC, np.concatenate([rows.slots, ends.slots]), sums_RC)

    def waited(self, slots: Ints) -> None:
        """A forward settled nothing of these searches, one slot of each."""
        self._sums_SC[slots, _Of.WAITED] += 1

    def drop(self, slot: int, anchor: int, tokens: int) -> None:
        """Drafted tokens behind a position were fed for nothing."""
        self._sums_SC[slot, _Of.DRAFTS] += tokens
        self._sums_SC[slot, _Of.PAIRS] += self._seen(np.arange(anchor + 1, anchor + tokens + 1)).sum()

    def take(self, slot: int, held_tokens: int) -> Cost:
        """The cost so far."""
        sums, prices, pricer = self._sums_SC[slot], self._prices, self._prices.pricer
        rows, chosen, ended, drafts, pairs, own_read = (int(sums[one]) for one in list(_Of)[:6])
        linear = (rows + drafts) * pricer.flops_per_token + (chosen + ended + drafts) * pricer.flops_per_logits
        linear += ended * prices.talk_head_flops
        cost = Cost(
            decode_flops=linear + prices.flops_per_layer_key * pairs,
            executed_flops=linear + round(sums[_Of.ATTENTION_FLOPS]),
            weight_bytes=round(sums[_Of.WEIGHT_BYTES]),
            kv_read_bytes=prices.bytes_per_layer_key * self._layers * own_read,
            kv_held_bytes=held_tokens * pricer.kv_bytes_per_token,
            serial_forwards=int(sums[_Of.WAITED]),
            new_tokens=chosen + drafts,
            seconds=float(sums[_Of.SECONDS]),
        )
        self._sums_SC[slot] = 0
        return cost

    def _seen(self, anchors: Ints) -> np.ndarray:
        """Keys that rows with these anchors see of the visible tokens, in all layers."""
        seen = [layers * np.minimum(anchors + 1, window or 2**62) for window, layers in self._windows]
        total: np.ndarray = sum(seen[1:], seen[0])
        return total
