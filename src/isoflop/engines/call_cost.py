"""What one call to somebody else's scheduler took: so much read, of which so much was cached, so much made.

The server's kernels are not ours to see: FLOPs and bytes are those of the formulas, the weights shared with the calls
that were out at the same time.

    call_cost(pricer, read=100, cached=96, new=20, rows=8, seconds=0.4)
"""

from __future__ import annotations

from dataclasses import replace

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost


def call_cost(pricer: Pricer, *, read: int, cached: int, new: int, rows: int, seconds: float) -> Cost:
    """`read` counts the cached tokens too; the last one is always read again, for its logits."""
    cached = max(0, min(cached, read - 1))
    cost = pricer.prefill_cost(cached, read - cached, rows=rows) + pricer.decode_cost(read, new - 1, rows=rows)
    held = (read + new) * pricer.kv_bytes_per_token
    # Of the two costs' contexts only the first one's start was in the server's cache.
    return replace(cost, cached_tokens=cached, new_tokens=new, serial_forwards=new, kv_held_bytes=held, seconds=seconds)
