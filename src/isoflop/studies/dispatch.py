"""Where problems x arms go when several workers do them: who gets which chains, and what becomes of a dead one's.

Every worker is kept supplied with chains (the jobs on one problem that share samples) of one engine at a time, and
streams every attempt back as it ends. One that dies (its machine, its memory) gives back what it had not delivered;
what was delivered is stored, so nothing is lost and nothing is made twice. What a worker is, a `Fleet` says: a process
of this machine (`processes.py`), an actor on a Ray cluster (`cluster.py`). Chains are dispatched, not tokens: batching
is the engine's.

    with closing(dispatch(fleet, 2, study, portions, store)) as delivered:
        for finished, in_flight in delivered: ...
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.errors import EngineError
from isoflop.studies.chains import Chain, Portion
from isoflop.studies.spec import Study
from isoflop.studies.store import Key, Store
from isoflop.studies.work import Assignment, Delivered, samples_of
from isoflop.studies.worker import Message

MOST_DEATHS = 5  # of workers that were at work on the same chain, or that had not opened an engine
WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that is no more, and why."""

    reason: str


class Hand(Protocol):
    """A worker, from here."""

    def give(self, assignments: Sequence[Assignment]) -> None:
        """More work. A dead one takes it without a word."""

    def hear(self) -> Message | Death:
        """What `Fleet.heard` announced. Raises the error that ended its work."""

    def end(self) -> None:
        """Stop it, whatever it does."""


class Fleet(Protocol):
    """Where workers come from. None of them heard of for `patience_seconds` ends the run; `advice` says what helps
    where they run out of memory, `silence` where none is heard of, `stillborn` where none comes up."""

    patience_seconds: float
    advice: str
    silence: str
    stillborn: str

    def hire(self, study: Study, trials: Sequence[Portion]) -> Hand:
        """One more worker (see `worker.py`)."""

    def heard(self, hands: Sequence[Hand], seconds: float) -> Sequence[Hand]:
        """Those of whom there is something to hear, waiting for the first at most so long."""


def dispatch(
    fleet: Fleet, count: int, study: Study, portions: Sequence[Portion], store: Store
) -> Generator[Delivered, None, None]:
    """Every chain done by `count` workers; the store is read (samples) and told what is lost. Close it when done."""
    crew = _Crew(fleet, study, portions, store)
    return crew.run(count)


@dataclass(eq=False, slots=True)
class _Member:
    """A worker, the engine that it has, its chains, and what it has in flight."""

    hand: Hand
    portion: int = 0
    heard: bool = False
    chains: dict[int, Chain] = field(default_factory=dict)
    out: dict[Key, int] = field(default_factory=dict)  # attempts that have not come back, with their chain's number
    in_flight: dict[Role, Cost] = field(default_factory=dict)


class _Crew:
    """All workers, and the chains that are still to be done, by engine."""

    def __init__(self, fleet: Fleet, study: Study, portions: Sequence[Portion], store: Store) -> None:
        self.fleet, self.study, self.store = fleet, study, store
        self._trials = [portion.trial() for portion in portions]
        starts = [sum(len(portion.chains) for portion in portions[:number]) for number in range(len(portions))]
        self._waiting = [deque(enumerate(p.chains, start)) for p, start in zip(portions, starts, strict=True)]
        self._undone = sum(len(portion.chains) for portion in portions)
        self._deaths: Counter[int] = Counter()
        self._stillborn = 0
        self._left: dict[int, set[Key]] = {}  # of the chains that are out: what has not come back
        self._members: dict[Hand, _Member] = {}
        self._heard = time.monotonic()
        self._told: tuple[float, dict[Role, Cost]] = (-math.inf, {})

    def run(self, count: int) -> Generator[Delivered, None, None]:
        """Until every chain is done."""
        try:
            for _ in range(count):
                self._hire()
            while self._undone:
                for hand in self.fleet.heard(list(self._members), WAIT_SECONDS):
                    yield from self._hear(self._members[hand])
                if time.monotonic() - self._heard > self.fleet.patience_seconds:
                    raise EngineError(
                        f"no worker has been heard of for {self.fleet.patience_seconds:g} seconds; "
                        f"{self.fleet.silence}. Finished attempts are stored; the same command goes on"
                    )
        finally:
            self.store.heartbeat(self._in_flight(at_most_seconds=0.0))
            for hand in self._members:
                hand.end()

    def _hire(self) -> None:
        hand = self.fleet.hire(self.study, self._trials)
        self._members[hand] = _Member(hand)

    def _hear(self, member: _Member) -> Iterator[Delivered]:
        """One message of a worker's: what it has finished. It gets new chains, or, if it has died, a successor."""
        message = member.hand.hear()
        if isinstance(message, Death):
            self._bury(member, message)
            return
        self._heard, member.heard, member.in_flight = time.monotonic(), True, message.in_flight
        for finished in message.finished:
            place = member.out.pop(finished.key)
            yield finished, self._in_flight()
            self._left[place].discard(finished.key)
            if not self._left[place]:
                del self._left[place], member.chains[place]
                self._undone -= 1
        self._feed(member)

    def _feed(self, member: _Member) -> None:
        """Keep it supplied with half as much again as it works on at a time."""
        if not member.chains and not self._waiting[member.portion]:
            member.portion = next((n for n, waiting in enumerate(self._waiting) if waiting), member.portion)
        waiting = self._waiting[member.portion]
        most = self.study.concurrency + -(-self.study.concurrency // 2)
        # Towards the end what is left is shared out.
        most = min(most, 1 + self._undone // len(self._members))
        given: list[Assignment] = []
        while waiting and len(member.chains) < most:
            place, chain = waiting.popleft()
            member.chains[place] = chain
            self._left[place] = {(arm, chain.place, chain.seed) for arm in chain.places}
            member.out.update(dict.fromkeys(self._left[place], place))
            given.append(Assignment(chain, samples_of(self.store, chain), member.portion))
        if given:
            member.hand.give(given)

    def _bury(self, member: _Member, death: Death) -> None:
        """What a dead worker has not delivered waits again; what it had spent on that is lost."""
        self.store.lose(member.in_flight)
        self._told = (-math.inf, {})
        for place, chain in member.chains.items():
            self._deaths[place] += 1
            if self._deaths[place] >= MOST_DEATHS:
                raise EngineError(
                    f"{MOST_DEATHS} workers have died with problem {chain.problem.id!r} among their work, the last one "
                    f"so: {death.reason}. {self.fleet.advice}. Finished attempts are stored; run it again to go on"
                )
            # Last in line: should it be what kills, all else is done first.
            self._waiting[member.portion].append((place, _rest(chain, self._left.pop(place))))
        del self._members[member.hand]
        member.hand.end()
        self._stillborn += not member.heard
        nobody = not any(other.heard for other in self._members.values())
        if not member.heard and nobody and self._stillborn >= MOST_DEATHS + len(self._members):
            raise EngineError(
                f"{self._stillborn} workers have died before they had an engine open, the last one so: {death.reason}. "
                f"{self.fleet.stillborn}"
            )
        self._hire()

    def _in_flight(self, at_most_seconds: float = 0.5) -> dict[Role, Cost]:
        """What all unfinished attempts have spent, no older than that: a sum over a thousand workers takes its time."""
        now = time.monotonic()
        if now - self._told[0] > at_most_seconds:
            together = Ledger()
            for member in self._members.values():
                together.charge_all(member.in_flight)
            self._told = (now, together.by_role())
        return self._told[1]


def _rest(chain: Chain, left: set[Key]) -> Chain:
    """The chain without the attempts that have been delivered."""
    kept = [n for n, arm in enumerate(chain.places) if (arm, chain.place, chain.seed) in left]
    return replace(chain, arms=tuple(chain.arms[n] for n in kept), places=tuple(chain.places[n] for n in kept))
