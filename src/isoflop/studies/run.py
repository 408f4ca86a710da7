"""A run: a study in a folder. It executes what is missing, in any number of sittings, and reads back what is there.

Finished attempts are never repeated; a kill loses at most what was in flight, and books it. One model is open at a
time. How many problems are worked on at once changes seconds alone.

    run = Run.create(load_study("study.toml"), "runs/first")     # or goes on with it, if it is the same study
    run.execute(progress=print)
    for record in Run.open("runs/first").attempts: ...
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from isoflop.core import Attempt, Problem
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.engines.base import EngineSpec
from isoflop.engines.pool import Pool, Sample
from isoflop.errors import StudyError
from isoflop.search.drive import Driver
from isoflop.search.job import Job
from isoflop.studies.chains import Bench, Chain, chains_of, refuse_unfit_arms
from isoflop.studies.collector import rare_collections
from isoflop.studies.hardware import describe_hardware, versions
from isoflop.studies.progress import Progress, Tally
from isoflop.studies.record import Record, decode_steps, encode, encode_steps, text_key
from isoflop.studies.spec import Study
from isoflop.studies.store import Key, SampleRow, Store, exists
from isoflop.studies.study_file import study_from_dict


class Run:
    """See the module. Make one with `create` or `open`."""

    def __init__(self, folder: Path, study: Study | None = None) -> None:
        self.folder = folder
        self._given = study

    @classmethod
    def create(cls, study: Study, folder: str | Path) -> Self:
        """A run of `study` in `folder`. A folder that holds a run of the same study goes on; another is refused."""
        folder = Path(folder)
        problems = study.problems.load(study.split)
        print_of = _fingerprint(problems)
        if exists(folder):
            run = cls(folder, study)
            run._refuse_another_study(study, print_of)
            return run
        meta = {"study": json.dumps(study.to_dict(), ensure_ascii=False), "hash": study.hash, "problems": print_of}
        arms = [(study.label(arm), json.dumps(arm.to_dict(), ensure_ascii=False)) for arm in study.arms]
        Store.create(folder, meta, problems, arms)
        return cls(folder, study)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The run in a folder (or of a run file). Raises StoreError where there is none."""
        folder = Path(path)
        run = cls(folder.parent if folder.is_file() else folder)
        run._reader.meta()
        return run

    @cached_property
    def _reader(self) -> Store:
        return Store.reader(self.folder)

    @cached_property
    def study(self) -> Study:
        """The study as it was declared when the run was made."""
        return self._given or study_from_dict(json.loads(self._reader.meta()["study"]), str(self.folder))

    @property
    def attempts(self) -> Iterator[Record]:
        """All stored attempts, by arm, problem and seed."""
        return self._reader.records()

    @property
    def problems(self) -> list[Problem]:
        """The problems, in order."""
        return self._reader.problems()

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """Who worked on this run, when, with what; `lost` is what each spent on attempts that it did not finish."""
        return self._reader.sessions()

    @property
    def lost(self) -> dict[Role, Cost]:
        """What was computed for attempts that are not in the store (killed, or replaced by a rerun)."""
        ledger = Ledger()
        for session in self.sessions:
            ledger.charge_all(session["lost"])
        return ledger.by_role()

    def status(self) -> Progress:
        """How far every arm is, and its accuracy and cost so far."""
        return _tally(self._reader, self.study).progress()

    def execute(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        retry_errors: bool = False,
        command: str = "",
        progress_seconds: float = 0.2,
    ) -> Progress:
        """Run what is missing (and, with `retry_errors`, what failed). `progress` is called a few times a second.

        Raises StoreError where another process is at work on this run.
        """
        study = self.study
        self.close()
        with Store.writer(self.folder) as store, rare_collections():
            store.begin(
                pid=os.getpid(),
                host=os.uname().nodename,
                hardware=describe_hardware(),
                versions=versions(),
                command=command or " ".join(sys.argv),
            )
            finished = store.finished()
            done = {key for key, failed in finished.items() if not (failed and retry_errors)}
            tally = _tally(store, study, skip=finished.keys() - done)
            report = _Throttled(progress, progress_seconds)
            for engine in dict.fromkeys(study.engines):
                self._execute_engine(store, engine, done, lambda attempt: report(tally, attempt))
            report.last(tally)
            return tally.progress()

    def _execute_engine(
        self, store: Store, spec: EngineSpec, done: set[Key], report: Callable[[Attempt], None]
    ) -> None:
        """All missing attempts of the arms of one engine, which is open for just as long."""
        chains = list(chains_of(self.study, spec, store.problems(), done))
        if not chains:
            return
        with closing(spec.open()) as engine:
            store.note_hardware(describe_hardware())
            pool = Pool(engine)
            driver = Driver(pool)
            beat = Heartbeat(lambda: store.heartbeat(driver.in_flight()))
            with Bench(self.study) as bench:
                refuse_unfit_arms(chains, bench, engine)
                try:
                    jobs = _jobs(chains, bench, pool, store)
                    last = {(chain.places[-1], chain.place, chain.seed) for chain in chains if chain.sharing}
                    for attempt in driver.run(jobs, self.study.concurrency, beat):
                        _store(store, attempt, pool, driver)
                        if attempt.key in last and attempt.nodes:
                            pool.forget(attempt.nodes[0].origin.prompt)
                        report(attempt)
                finally:
                    store.heartbeat(driver.in_flight())

    def close(self) -> None:
        """Close the reader, so that a writer can leave one plain file behind; reading opens it again."""
        reader = self.__dict__.pop("_reader", None)
        if reader is not None:
            reader.close()

    def _refuse_another_study(self, study: Study, print_of: str) -> None:
        meta = self._reader.meta()
        if meta["hash"] != study.hash:
            stored = study_from_dict(json.loads(meta["study"]), str(self.folder))
            lines = "\n  ".join(study.differences(stored))
            raise StudyError(
                f"{self.folder} holds a run of another study (hash {meta['hash']}, this one has {study.hash}); a study "
                f"is declared before its first attempt, so choose another folder. What differs between this one (here) "
                f"and the run (there):\n  {lines}"
            )
        if meta["problems"] != print_of:
            raise StudyError(
                f"{self.folder}: the problems of {study.problems} have changed since the run was made (ids, questions "
                f"or gold answers); bring the old ones back or choose another folder"
            )


def _tally(store: Store, study: Study, skip: Set[Key] = frozenset()) -> Tally:
    """What is stored, but for the attempts to skip, counted; the clock starts now."""
    arms = {label: place for place, label in enumerate(store.labels())}
    places = {problem.id: place for place, problem in enumerate(store.problems())}
    tally = Tally(list(arms), len(places) * len(study.seeds))
    for record in store.records():
        if (arms[record.arm], places[record.problem.id], record.seed) not in skip:
            tally.add(arms[record.arm], record.outcome, record.charged_total)
    tally.start()
    return tally


class Heartbeat:
    """Calls `beat` about once a second: what a kill would lose is on the books before it is lost."""

    def __init__(self, beat: Callable[[], None], every_seconds: float = 1.0) -> None:
        self._beat, self._every, self._next = beat, every_seconds, time.monotonic() + every_seconds

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._beat()
            self._next = now + self._every


class _Throttled:
    """Calls `progress` at most every so many seconds."""

    def __init__(self, progress: Callable[[Progress], None] | None, seconds: float) -> None:
        self._progress, self._seconds, self._next = progress, seconds, 0.0

    def __call__(self, tally: Tally, attempt: Attempt) -> None:
        arm, _, _ = attempt.key
        tally.add(arm, attempt.outcome, sum(attempt.charged.values(), Cost()))
        if self._progress is not None and time.monotonic() >= self._next:
            self._progress(tally.progress())
            self._next = time.monotonic() + self._seconds

    def last(self, tally: Tally) -> None:
        """Say how it ended."""
        if self._progress is not None:
            self._progress(tally.progress())


def _jobs(chains: Iterable[Chain], bench: Bench, pool: Pool, store: Store) -> Iterator[list[Job]]:
    """Chains as the driver takes them, one when it has room; each opens its share of the pool."""
    for chain in chains:
        prompt = chain.arms[0].prompt.build(chain.problem)
        if chain.sharing:
            rows = store.samples(chain.place, chain.seed, chain.sharing)
            pool.share(prompt, (Sample(key, tuple(decode_steps(*steps)), seconds) for key, seconds, steps in rows))
        keys = [(place, chain.place, chain.seed) for place in chain.places]
        yield [bench.job(arm, key, chain.problem, prompt) for arm, key in zip(chain.arms, keys, strict=True)]


def _store(store: Store, attempt: Attempt, pool: Pool, driver: Driver) -> None:
    arm, problem, _ = attempt.key
    prompt = attempt.nodes[0].origin.prompt_text if attempt.nodes else None
    key = None if prompt is None else text_key(prompt)
    samples: list[SampleRow] = [(one.key, one.seconds, encode_steps(one.steps)) for one in pool.drain()]
    text = None if key is None or prompt is None else (key, prompt)
    store.add(encode(attempt, arm, problem, key), text, samples, driver.in_flight())


def _fingerprint(problems: Sequence[Problem]) -> str:
    known = json.dumps([(problem.id, problem.question, problem.answer) for problem in problems])
    return hashlib.sha256(known.encode()).hexdigest()[:16]
