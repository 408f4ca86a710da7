"""A run: a study in a folder. It executes what is missing, in any number of sittings, and reads back what is there.

Finished attempts are never repeated; a kill loses at most what was in flight, and books it. One model is open at a
time in one process. How many problems are worked on at once, and by how many processes, changes seconds alone.

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
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from isoflop.core import Problem
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.errors import StudyError
from isoflop.studies.chains import Portion, portions_of
from isoflop.studies.collector import rare_collections
from isoflop.studies.hardware import describe_hardware, versions
from isoflop.studies.progress import Progress, Tally
from isoflop.studies.record import Record
from isoflop.studies.spec import Study
from isoflop.studies.store import Key, Store, exists
from isoflop.studies.study_file import study_from_dict
from isoflop.studies.work import Assignment, Delivered, Finished, Heartbeat, Work, samples_of

# From a study, what of it is missing, and the store (to read samples, to note things) to what comes out.
Executor = Callable[[Study, Sequence[Portion], Store], Generator[Delivered, None, None]]


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
        executor: Executor | None = None,
    ) -> Progress:
        """Run what is missing (and, with `retry_errors`, what failed). `progress` is called a few times a second;
        `executor` does the work, and this process alone writes (default: this process does the work, too).

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
            portions = portions_of(study, store.problems(), done)
            # Closed here: whatever ends the loop, what is in flight is booked while the store is open.
            with closing((executor or in_this_process)(study, portions, store)) as delivered:
                for made, in_flight in delivered:
                    store.add(made.row, made.prompt, made.samples, in_flight)
                    report(tally, made)
            report.last(tally)
            return tally.progress()

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


def in_this_process(study: Study, portions: Sequence[Portion], store: Store) -> Generator[Delivered, None, None]:
    """The executor that needs nobody else. Each engine is open for just as long as its arms take."""
    for portion in portions:
        with Work(study, portion.engine) as work:
            store.note_hardware(describe_hardware())
            work.refuse_unfit(portion.chains)
            yield from _in_this_process(work, portion, store)


def _in_this_process(work: Work, portion: Portion, store: Store) -> Iterator[Delivered]:
    beat = Heartbeat(lambda: store.heartbeat(work.in_flight()))
    assigned = (Assignment(chain, samples_of(store, chain)) for chain in portion.chains)
    try:
        for finished in work.run(assigned, beat):
            yield finished, work.in_flight()
    finally:
        store.heartbeat(work.in_flight())


class _Throttled:
    """Calls `progress` at most every so many seconds."""

    def __init__(self, progress: Callable[[Progress], None] | None, seconds: float) -> None:
        self._progress, self._seconds, self._next = progress, seconds, 0.0

    def __call__(self, tally: Tally, finished: Finished) -> None:
        tally.add(finished.key[0], finished.outcome, finished.charged)
        if self._progress is not None and time.monotonic() >= self._next:
            self._progress(tally.progress())
            self._next = time.monotonic() + self._seconds

    def last(self, tally: Tally) -> None:
        """Say how it ended."""
        if self._progress is not None:
            self._progress(tally.progress())


def _fingerprint(problems: Sequence[Problem]) -> str:
    known = json.dumps([(problem.id, problem.question, problem.answer) for problem in problems])
    return hashlib.sha256(known.encode()).hexdigest()[:16]
