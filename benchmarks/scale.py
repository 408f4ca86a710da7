"""Records per second that one writer takes from 1, 10, 100 and 1,000 workers, and what it spends its time on.

    python benchmarks/scale.py [--problems 1500] [--workers 1 10 100 1000]

The workers are simulated: what they deliver was made beforehand by the scripted engine (`greedy` and `rebase(width=8)`
on each problem), and each delivers what it was given as soon as it is asked, so that only executor, tally and store
are measured. Ray's own messages are not in it; its ceiling is measured apart (docs/scale.md).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from isoflop.studies import cluster
from isoflop.studies.chains import Chain, chains_of
from isoflop.studies.cluster import RayExecutor
from isoflop.studies.cluster_worker import Message
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.studies.work import Assignment, Finished, Work

STRATEGIES = ("greedy()", "rebase(width=8)")


class SimulatedRay:
    """The calls that the executor makes; a worker's messages wait here until they are asked for."""

    class exceptions:
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

    def __init__(self, made: dict[Any, Finished]) -> None:
        self.made, self.waiting, self.seconds = made, deque[Any](), 0.0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}}]

    def remote(self, cls: type) -> SimulatedRay:
        return self

    def options(self, **_: Any) -> _Hire:
        return _Hire(self)

    def wait(self, streams: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return [self.waiting.popleft()], []

    def get(self, message: Message) -> Message:
        return message

    def kill(self, actor: Any) -> None:
        pass


class _Hire:
    def __init__(self, ray: SimulatedRay) -> None:
        self.ray = ray

    def remote(self, *_: Any) -> _Worker:
        return _Worker(self.ray)


class _Worker:
    """Actor, stream and methods in one."""

    def __init__(self, ray: SimulatedRay) -> None:
        self.ray, self.messages = ray, deque([Message((), {})])
        self.work = self.give = self.stream = self
        ray.waiting.append(self)

    def options(self, **_: Any) -> _Worker:
        return self

    def remote(self, assignments: list[Assignment] | None = None) -> _Worker:
        for one in assignments or ():
            keys = [(arm, one.chain.place, one.chain.seed) for arm in one.chain.places]
            self.messages.append(Message(tuple(self.ray.made[key] for key in keys), {}))
            self.ray.waiting.append(self)
        return self

    def __next__(self) -> Message:
        return self.messages.popleft()


def study_of(folder: Path, problems: int) -> Study:
    rows = [
        json.dumps({"id": str(i), "question": f"How much is {i} and 0?", "answer": str(i)}) for i in range(problems)
    ]
    (folder / "problems.jsonl").write_text("\n".join(rows))
    arms = [Arm.of(model="scripted(steps=6, skill=0.8)", strategy=one, prompt="plain()") for one in STRATEGIES]
    return Study(f"jsonl(path='{folder / 'problems.jsonl'}')", arms)


def measure(study: Study, made: dict[Any, Finished], workers: int, folder: Path) -> tuple[float, float, int]:
    """Records per second with tally and store, without the store, and bytes a record."""
    ray = SimulatedRay(made)
    cluster._ray = lambda address: ray  # type: ignore[assignment]
    run = Run.create(study, folder)
    began = time.perf_counter()
    run.execute(executor=RayExecutor(workers=workers))
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in folder.iterdir())

    def dry(*given: Any) -> Any:
        nonlocal dispatching
        started = time.perf_counter()
        count = sum(1 for _ in RayExecutor(workers=workers)(*given))
        dispatching = count / (time.perf_counter() - started)
        yield from ()

    dispatching = 0.0
    ray.waiting.clear()
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
