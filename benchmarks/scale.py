"""Records per second that one writer takes from 1, 10, 100 and 1,000 workers, and what it spends its time on.

    python benchmarks/scale.py [--problems 1500] [--workers 1 10 100 1000]

The workers are simulated: what they deliver was made beforehand by the scripted engine (`greedy` and `rebase(width=8)`
on each problem), and each delivers what it was given as soon as it is asked, so that only dispatch, tally and store
are measured. Ray's own messages are not in it; its ceiling is measured apart (docs/scale.md).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoflop.studies.chains import Chain, Portion, chains_of
from isoflop.studies.dispatch import Hand, dispatch
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.studies.store import Store
from isoflop.studies.work import Assignment, Finished, Work
from isoflop.studies.worker import Message

STRATEGIES = ("greedy()", "rebase(width=8)")


class SimulatedFleet:
    """Workers whose messages wait here until they are asked for."""

    patience_seconds = math.inf
    advice = silence = stillborn = ""

    def __init__(self, made: dict[Any, Finished]) -> None:
        self.made, self.waiting = made, deque[Any]()

    def hire(self, *_: Any) -> _Worker:
        return _Worker(self)

    def heard(self, hands: Sequence[Hand], seconds: float) -> list[_Worker]:
        return [self.waiting.popleft()]


class _Worker:
    """It delivers what it was given, chain by chain."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self.fleet, self.messages = fleet, deque([Message((), {})])
        fleet.waiting.append(self)

    def give(self, assignments: Sequence[Assignment]) -> None:
        for one in assignments:
            keys = [(arm, one.chain.place, one.chain.seed) for arm in one.chain.places]
            self.messages.append(Message(tuple(self.fleet.made[key] for key in keys), {}))
            self.fleet.waiting.append(self)

    def hear(self) -> Message:
        return self.messages.popleft()

    def end(self) -> None:
        pass


def study_of(folder: Path, problems: int) -> Study:
    rows = [
        json.dumps({"id": str(i), "question": f"How much is {i} and 0?", "answer": str(i)}) for i in range(problems)
    ]
    (folder / "problems.jsonl").write_text("\n".join(rows))
    arms = [Arm.of(model="scripted(steps=6, skill=0.8)", strategy=one, prompt="plain()") for one in STRATEGIES]
    return Study(f"jsonl(path='{folder / 'problems.jsonl'}')", arms)


def measure(study: Study, made: dict[Any, Finished], workers: int, folder: Path) -> tuple[float, float, int]:
    """Records per second with tally and store, without the store, and bytes a record."""
    dispatching = 0.0

    def everything(study: Study, portions: Sequence[Portion], store: Store) -> Any:
        return dispatch(SimulatedFleet(made), workers, study, portions, store)

    run = Run.create(study, folder)
    began = time.perf_counter()
    run.execute(executor=everything)
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in folder.iterdir())

    def dry(*given: Any) -> Any:
        nonlocal dispatching
        started = time.perf_counter()
        count = sum(1 for _ in everything(*given))
        dispatching = count / (time.perf_counter() - started)
        yield from ()

    Run.create(study, folder.with_suffix(".dry")).execute(executor=dry)
    return len(made) / seconds, dispatching, size // len(made)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--problems", type=int, default=1500)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = study_of(folder, given.problems)
        problems = study.problems.load(study.split)
        with Work(study, study.engines[0]) as work:
            chains: list[Chain] = list(chains_of(study, study.engines[0], problems, set()))
            began = time.perf_counter()
            made = {one.key: one for one in work.run(map(Assignment, chains))}
            alone = len(made) / (time.perf_counter() - began)
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {len(made)} records")
        print(f"making them in one process, without a store: {alone:,.0f} records/s")
        print("workers  records/s (dispatch, tally and store)  dispatch alone  bytes a record")
        found: dict[int, list[tuple[float, float, int]]] = {count: [] for count in given.workers}
        for turn in range(given.repeats):
            for count in given.workers:
                found[count].append(measure(study, made, count, folder / f"run-{turn}-{count}"))
        for count, rows in found.items():
            together, alone_, size = (statistics.median(column) for column in zip(*rows, strict=True))
            low, high = min(row[0] for row in rows), max(row[0] for row in rows)
            print(f"{count:7,}  {together:10,.0f} ({low:,.0f} to {high:,.0f})  {alone_:14,.0f}  {size:,.0f}")


if __name__ == "__main__":
    main()
