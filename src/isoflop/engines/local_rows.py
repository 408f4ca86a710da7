"""The live sequences of the local engine as columns: numbers in arrays, so that a step costs no Python per sequence.

Row i is sequence i; the rows are dense, and the last one moves into a gap. `token` was sampled but is not in the cache
yet: it will go to `position`. It is not a queue: requests wait in the engine until they have a row and a slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isoflop.core import Step, Trajectory
from isoflop.cost.ledger import ZERO, Cost
from isoflop.engines.base import GenerationRequest
from isoflop.engines.local_cost import Account, Shares
from isoflop.engines.local_paths import SearchPaths
from isoflop.engines.segment import Segmenter
from isoflop.thought import Thought

_COLUMNS = {
    "slot": np.int64,
    "position": np.int64,
    "token": np.int64,
    "left": np.int64,  # tokens that may still be sampled
    "index": np.uint64,  # index of the next token in its trajectory: its random number's position
    "stream": np.uint64,
    "temperature": np.float64,
    "top_p": np.float64,
    "top_k": np.int64,
    "marks": np.int64,  # which table says what tokens must be looked at
    "search": np.int64,
    "serial": np.int64,  # forwards booked as waited for by its search
    "begins": np.bool_,  # whether the next token is the first that is sampled of its step
    "seconds": np.float64,  # what the row bears of the forwards up to now
    "weight_bytes": np.float64,
    "attention_flops": np.float64,
}


# What the first token's distribution depends on: the node, and what is forced behind it.
RowKey = tuple[Trajectory, tuple[int, ...]]


@dataclass(eq=False, slots=True)
class Row:
    """What is not a number: the request, its steps so far, its account. `seen` is the position after the last token
    that the segmenter was given, `thoughts` what was thought before the tokens at which positions."""

    request: GenerationRequest
    search: SearchPaths
    segmenter: Segmenter
    account: Account
    seen: int
    thoughts: list[tuple[int, Thought]] = field(default_factory=list)
    thought_cost: Cost = ZERO

    @property
    def key(self) -> RowKey:
        """See `RowKey`."""
        return self.request.parent, self.request.forced

    def with_thoughts(self, steps: Iterable[Step]) -> tuple[Step, ...]:
        """The steps that were made, each with the thoughts before its tokens."""
        found: list[Step] = []
        begin = self.request.parent.length
        for step in steps:
            end = begin + len(step.tokens)
            own = tuple(replace(one, at=place - begin) for place, one in self.thoughts if begin <= place < end)
            found.append(replace(step, thoughts=own) if own else step)
            begin = end
        return tuple(found)


class Rows:
    """See the module. The first `count` entries of each column are live."""

    slot: np.ndarray
    position: np.ndarray
    token: np.ndarray
    left: np.ndarray
    index: np.ndarray
    stream: np.ndarray
    temperature: np.ndarray
    top_p: np.ndarray
    top_k: np.ndarray
    marks: np.ndarray
    search: np.ndarray
    serial: np.ndarray
    begins: np.ndarray
    seconds: np.ndarray
    weight_bytes: np.ndarray
    attention_flops: np.ndarray

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self.rows: list[Row] = []
        for name, kind in _COLUMNS.items():
            setattr(self, name, np.zeros(size, dtype=kind))

    def add(self, row: Row, slot: int, known: int, left: int, marks: int) -> int:
        """A new row behind the others: `known` tokens are given, the next one is to be sampled."""
        i, request = self.count, row.request
        self.slot[i], self.position[i], self.token[i], self.left[i] = slot, known - 1, 0, left
        self.index[i] = known - len(request.parent.origin.prompt_tokens)
        self.stream[i] = request.stream
        self.temperature[i], self.top_p[i], self.top_k[i] = request.temperature, request.top_p, request.top_k
        self.marks[i], self.search[i], self.serial[i], self.begins[i] = marks, row.search.number, 0, True
        self.seconds[i] = self.weight_bytes[i] = self.attention_flops[i] = 0.0
        self.rows.append(row)
        self.count += 1
        return i

    def bear(self, places: Any, unit: Shares, units: int = 1, attention_flops: float | None = None) -> None:
        """Let rows bear that many units of a forward; the unit's attention, unless it is given."""
        self.seconds[places] += unit.seconds * units
        self.weight_bytes[places] += unit.weight_bytes * units
        self.attention_flops[places] += unit.attention_flops if attention_flops is None else attention_flops

    def borne(self, i: int) -> Shares:
        """What row i bore up to now."""
        return Shares(float(self.seconds[i]), float(self.weight_bytes[i]), float(self.attention_flops[i]))

    def remove(self, i: int) -> Row:
        """Take row i out; the last row takes its place."""
        self.count -= 1
        last = self.count
        gone, moved = self.rows[i], self.rows.pop()
        if i != last:
            self.rows[i] = moved
            for name in _COLUMNS:
                column = getattr(self, name)
                column[i] = column[last]
        return gone
