"""A worker: it opens one engine at a time, takes chains as they are given, and streams back what is finished.

It is a plain class: Ray makes an actor of it (`cluster.py`), a process of this machine runs it (`processes.py`). Its
`work` runs in one thread while `give` is called in another.

    worker = Worker(study, trials); worker.give([assignment]); next(worker.work())
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isoflop.cost.ledger import Cost, Role
from isoflop.studies.chains import Portion
from isoflop.studies.collector import rare_collections
from isoflop.studies.spec import Study
from isoflop.studies.work import Assignment, Finished, Work

MESSAGE_SECONDS = 0.25  # the longest that a finished attempt waits for others to be sent along
IDLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Message:
    """What has been finished since the last one, and what the unfinished attempts have spent. An engine that has been
    opened is told by an empty one."""

    finished: tuple[Finished, ...]
    in_flight: dict[Role, Cost]


class Worker:
    """See the module. `trials` hold every engine, and with it every arm once: those that do not fit are refused before
    any attempt. The first engine is opened at once, another when the first chain of its own is given."""

    def __init__(self, study: Study, trials: Sequence[Portion]) -> None:
        self._study, self._trials = study, trials
        self._given: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
        self._next: Assignment | None = None

    def give(self, assignments: Sequence[Assignment]) -> None:
        """More work."""
        for assignment in assignments:
            self._given.put(assignment)

    def work(self) -> Iterator[Message]:
        """Messages, for as long as somebody listens. Errors of the engine end it."""
        number = 0
        with rare_collections():
            while True:
                yield from self._work_on(number)
                if self._next is not None:
                    number = self._next.portion

    def _work_on(self, number: int) -> Iterator[Message]:
        """Messages until a chain for another engine has come, and all is done that came before it."""
        with Work(self._study, self._trials[number].engine) as work:
            work.refuse_unfit(self._trials[number].chains)
            yield Message((), {})
            sent = time.monotonic()
            ready: list[Finished] = []
            while self._next is None or self._next.portion == number or work.driver.running:
                ready += self._turn(work, number)
                if ready or time.monotonic() - sent > 1.0:
                    idle = not work.driver.running
                    if idle or time.monotonic() - sent > MESSAGE_SECONDS:
                        yield Message(tuple(ready), work.in_flight())
                        sent, ready = time.monotonic(), []

    def _turn(self, work: Work, number: int) -> Iterator[Finished]:
        """Begin what has been given, as far as there is room, and let the engine advance."""
        while len(work.driver.running) < self._study.concurrency:
            given = self._take(number, wait=not work.driver.running)
            if given is None:
                break
            for attempt in work.driver.advance(iter(work.jobs(given))):
                yield work.finished(attempt)
        if work.driver.running:
            for attempt in work.driver.turn():
                yield work.finished(attempt)

    def _take(self, number: int, *, wait: bool) -> Assignment | None:
        """The next chain, if it has come and is for this engine."""
        if self._next is None:
            try:
                self._next = self._given.get(block=wait, timeout=IDLE_SECONDS)
            except queue.Empty:
                return None
        if self._next.portion != number:
            return None
        taken, self._next = self._next, None
        return taken
