"""Python's garbage collector, kept from walking living trees again and again.

Trajectories, steps and costs hold no cycles: they are freed when the last reference goes, and the cyclic collector only
costs time on them (20-30% of the driver's own, `benchmarks/driver.py`). It stays on, but looks far less often.

    with rare_collections():
        ...
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 100_000  # between two looks at the youngest objects; Python's default is below 3,000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Raise the collector's threshold while a run executes; what was there before is not looked at meanwhile."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
