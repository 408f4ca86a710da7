"""What unfinished searches have spent so far, so that work lost to a kill stays on the books.

It charges nothing: the driver does. It reads what engine and reward report as it passes by, search by search, and drops
a search when it ends.

    meter = Meter(engine, beat=lambda: store.heartbeat(meter.in_flight()))
    reward = MeteredReward(reward, meter)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from isoflop.core import Trajectory
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.engines.base import Engine, Generation, GenerationRequest
from isoflop.engines.wrapped import Wrapped
from isoflop.rewards.base import Reward, Scores

BEAT_SECONDS = 1.0


class Meter(Wrapped):
    """An engine that keeps the running bill of every live search, and calls `beat` about once a second."""

    def __init__(self, inner: Engine, beat: Callable[[], None]) -> None:
        super().__init__(inner)
        self._beat = beat
        self._bills: dict[str, Ledger] = {}
        self._search_of: dict[int, str] = {}
        self._next_beat = time.monotonic() + BEAT_SECONDS

    def in_flight(self) -> dict[Role, Cost]:
        """What all unfinished searches together have spent."""
        together = Ledger()
        for bill in self._bills.values():
            together.charge_all(bill.by_role())
        return together.by_role()

    def book(self, search: str, spent: Mapping[Role, Cost]) -> None:
        """Note what was just computed for a search."""
        if spent:
            self._bills.setdefault(search, Ledger()).charge_all(spent)

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Note whose requests these are."""
        for request in requests:
            self._search_of[request.id] = request.parent.origin.search
        self.inner.submit(requests)

    def poll(self) -> list[Generation]:
        """Note what finished generations took."""
        done = self.inner.poll()
        for generation in done:
            self.book(self._search_of.pop(generation.id), generation.spent)
        if time.monotonic() >= self._next_beat:
            self._beat()
            self._next_beat = time.monotonic() + BEAT_SECONDS
        return done

    def release(self, search: str) -> None:
        """The search has ended: its attempt carries the bill from here on."""
        self._bills.pop(search, None)
        self.inner.release(search)


class MeteredReward(Reward):
    """A reward whose work is noted on the bill of the search that asked."""

    def __init__(self, inner: Reward, meter: Meter) -> None:
        self.inner, self._meter = inner, meter
        self.guides_search = inner.guides_search

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """As the inner reward."""
        scores = self.inner.score(trajectories)
        for trajectory, spent in zip(trajectories, scores.spent, strict=False):  # empty where scoring was free
            self._meter.book(trajectory.origin.search, spent)
        return scores

    def price(self, start: int, tokens: int) -> int:
        """As the inner reward."""
        return self.inner.price(start, tokens)

    def release(self, search: str) -> None:
        """As the inner reward."""
        self.inner.release(search)

    def close(self) -> None:
        """As the inner reward."""
        self.inner.close()
