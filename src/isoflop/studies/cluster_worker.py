"""The worker of a cluster: it opens its engine once, takes chains as they are given, and streams back what is finished.

It is a plain class; Ray makes an actor of it, whose `work` runs in one thread while `give` is called in another.

    worker = Worker(study, engine_spec, chains); worker.give([assignment]); next(worker.work())
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import EngineSpec
from isoflop.studies.chains import Chain
from isoflop.studies.spec import Study
from isoflop.studies.work import Assignment, Finished, Work

MESSAGE_SECONDS = 0.25  # the longest that a finished attempt waits for others to be sent along
IDLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Message:
    """What has been finished since the last one, and what the unfinished attempts have spent. The first is empty: the
    engine is open."""

    finished: tuple[Finished, ...]
    in_flight: dict[Role, Cost]


class Worker:
    """See the module. `trial` holds every arm at least once: those that do not fit are refused before any attempt."""

    def __init__(self, study: Study, spec: EngineSpec, trial: Sequence[Chain]) -> None:
        self._study, self._spec, self._trial = study, spec, trial
        self._given: queue.SimpleQueue[Assignment] = queue.SimpleQueue()

    def give(self, assignments: Sequence[Assignment]) -> None:
        """More work."""
        for assignment in assignments:
            self._given.put(assignment)

    def work(self) -> Iterator[Message]:
        """Messages, for as long as somebody listens. Errors of the engine end it."""
        with Work(self._study, self._spec) as work:
            work.refuse_unfit(self._trial)
            yield Message((), {})
            sent = time.monotonic()
            ready: list[Finished] = []
            while True:
                ready += self._turn(work)
                if ready or time.monotonic() - sent > 1.0:
                    idle = not work.driver.running
                    if idle or time.monotonic() - sent > MESSAGE_SECONDS:
                        yield Message(tuple(ready), work.in_flight())
                        sent, ready = time.monotonic(), []

    def _turn(self, work: Work) -> Iterator[Finished]:
        """Begin what has been given, as far as there is room, and let the engine advance."""
        while len(work.driver.running) < self._study.concurrency:
            try:
                given = self._given.get(block=not work.driver.running, timeout=IDLE_SECONDS)
            except queue.Empty:
                break
            for attempt in work.driver.advance(iter(work.jobs(given))):
                yield work.finished(attempt)
        if work.driver.running:
            for attempt in work.driver.turn():
                yield work.finished(attempt)
