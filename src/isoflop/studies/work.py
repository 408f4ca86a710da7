"""Work on a study's chains with one engine: what comes out are rows for the store, whoever writes them.

A run in one process writes them itself; in one on many workers these send theirs to the one that does (`dispatch.py`).

    with Work(study, engine_spec) as work:
        for finished in work.run(assignments): store.add(...)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from isoflop.core import Attempt, Outcome
from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import EngineSpec
from isoflop.engines.pool import Pool, Sample
from isoflop.search.drive import Driver
from isoflop.search.job import Job
from isoflop.studies.chains import Bench, Chain, refuse_unfit_arms
from isoflop.studies.record import decode_steps, encode, encode_steps, text_key
from isoflop.studies.spec import Study
from isoflop.studies.store import Key, SampleRow, Store


@dataclass(frozen=True, slots=True)
class Assignment:
    """A chain, what its arms have drawn before (of a run that goes on), and whose it is of the study's portions."""

    chain: Chain
    samples: tuple[SampleRow, ...] = ()
    portion: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """One attempt as the store takes it: its row, its prompt's text, the samples it paid for; what a tally needs."""

    key: Key
    row: tuple[Any, ...]
    prompt: tuple[str, str] | None
    samples: tuple[SampleRow, ...]
    outcome: Outcome
    charged: Cost


Delivered = tuple[Finished, Mapping[Role, Cost]]  # an attempt, and what the unfinished ones have spent by then


def samples_of(store: Store, chain: Chain) -> tuple[SampleRow, ...]:
    """What the chain's arms have drawn before."""
    return tuple(store.samples(chain.place, chain.seed, chain.sharing)) if chain.sharing else ()


class Work:
    """An open engine with its driver, pool and bench; closed with it (`with`)."""

    def __init__(self, study: Study, spec: EngineSpec) -> None:
        self.study = study
        self._open = ExitStack()
        with ExitStack() as opening:
            self.engine = opening.enter_context(closing(spec.open()))
            self._bench = opening.enter_context(Bench(study))
            self._open = opening.pop_all()
        self._pool = Pool(self.engine)
        self.driver = Driver(self._pool)
        self._last: set[Key] = set()  # attempts behind which a shared prompt's samples are not wanted any more

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def refuse_unfit(self, chains: Iterable[Chain]) -> None:
        """Raise SpecError for an arm that the engine cannot run."""
        refuse_unfit_arms(list(chains), self._bench, self.engine)

    def in_flight(self) -> dict[Role, Cost]:
        """What unfinished attempts have spent so far."""
        return self.driver.in_flight()

    def run(self, assignments: Iterable[Assignment], beat: Callable[[], None] | None = None) -> Iterator[Finished]:
        """All of them, as many at a time as the study says; `beat` is called each time the engine has advanced."""
        jobs = (self.jobs(assignment) for assignment in assignments)
        for attempt in self.driver.run(jobs, self.study.concurrency, beat):
            yield self.finished(attempt)

    def jobs(self, assignment: Assignment) -> list[Job]:
        """The jobs of one chain; it opens its share of the pool."""
        chain = assignment.chain
        prompt = chain.arms[0].prompt.build(chain.problem)
        keys = [(place, chain.place, chain.seed) for place in chain.places]
        if chain.sharing:
            known = assignment.samples
            self._pool.share(prompt, (Sample(key, tuple(decode_steps(*steps)), took) for key, took, steps in known))
            self._last.add(keys[-1])
        return [self._bench.job(arm, key, chain.problem, prompt) for arm, key in zip(chain.arms, keys, strict=True)]

    def finished(self, attempt: Attempt) -> Finished:
        """The attempt for the store."""
        arm, problem, _ = attempt.key
        origin = attempt.nodes[0].origin if attempt.nodes else None
        text = None if origin is None else (text_key(origin.prompt_text), origin.prompt_text)
        samples = tuple((one.key, one.seconds, encode_steps(one.steps)) for one in self._pool.drain())
        row = encode(attempt, arm, problem, None if text is None else text[0])
        if attempt.key in self._last and origin is not None:
            self._last.discard(attempt.key)
            self._pool.forget(origin.prompt)
        return Finished(attempt.key, row, text, samples, attempt.outcome, sum(attempt.charged.values(), Cost()))


class Heartbeat:
    """Calls `beat` about once a second: what a kill would lose is on the books before it is lost."""

    def __init__(self, beat: Callable[[], None], every_seconds: float = 1.0) -> None:
        self._beat, self._every, self._next = beat, every_seconds, time.monotonic() + every_seconds

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._beat()
            self._next = now + self._every
