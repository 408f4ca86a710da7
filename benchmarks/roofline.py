"""What this machine could do at best: bytes read per second, multiplications per second, and what follows for a model.

    machine = measure_machine(torch.bfloat16)
    machine.tokens_per_second(pricer, live=16, context=192)

One decoding step reads the weights once and multiplies them with every sequence's token: it takes at least the longer
of the two times. Softmax, norms and sampling are not counted, so no program reaches it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from isoflop.cost.flops import Pricer


@dataclass(frozen=True)
class Machine:
    """Measured rates of the threads that torch uses."""

    bytes_per_second: float
    flops_per_second: float

    def tokens_per_second(self, pricer: Pricer, live: int, context: int) -> float:
        """The roofline of decoding `live` sequences of so many tokens."""
        cost = pricer.decode_cost(context, 1, rows=live)
        read = cost.weight_bytes * live + cost.kv_read_bytes * live
        return live / max(read / self.bytes_per_second, cost.flops * live / self.flops_per_second)

    def __str__(self) -> str:
        return f"reads {self.bytes_per_second / 1e9:.1f} GB/s, multiplies {self.flops_per_second / 1e9:.0f} GFLOP/s"


def measure_machine(dtype: torch.dtype) -> Machine:
    """The best of several short runs of each kind."""
    block = torch.ones(2**28, dtype=torch.float32)
    left = torch.ones((2048, 2048), dtype=dtype)
    reading = min(_seconds(lambda: block.sum()) for _ in range(5))
    multiplying = min(_seconds(lambda: left @ left) for _ in range(5))
    return Machine(block.numel() * 4 / reading, 2 * 2048**3 / multiplying)


def _seconds(work) -> float:  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
