"""A run on several processes of this machine: each opens an engine and works, this process alone writes.

Python runs one thread at a time, and a small model's forward is too short for two threads: two processes of one thread
each make nearly twice as much. Who gets which chains, and what becomes of a dead process's, is said in `dispatch.py`.
If this process dies, also by a kill, its workers end at once, and the same command goes on.

    run.execute(executor=ProcessExecutor(workers=2))

A script that calls it keeps that under `if __name__ == "__main__":`, as always with processes that Python spawns.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess

from isoflop.errors import EngineError, IsoflopError
from isoflop.specs import require
from isoflop.studies.chains import Portion
from isoflop.studies.dispatch import Death, Hand, dispatch
from isoflop.studies.hardware import cores, describe_hardware
from isoflop.studies.spec import Study
from isoflop.studies.store import Store
from isoflop.studies.work import Assignment, Delivered
from isoflop.studies.worker import Message, Worker

# What libraries ask when they are loaded; where the user has set one, it stays.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ProcessExecutor:
    """`workers` processes, each of which may use its share of the cores: one thread where there are as many workers as
    cores. An engine that says `threads` gets those."""

    workers: int

    def __post_init__(self) -> None:
        require(self.workers >= 1, f"workers={self.workers}: at least 1 process")

    def __call__(self, study: Study, portions: Sequence[Portion], store: Store) -> Generator[Delivered, None, None]:
        """The executor (see `run.py`)."""
        if not portions:
            return
        count = min(self.workers, sum(len(portion.chains) for portion in portions))
        store.note_hardware(f"{describe_hardware()}; {count} processes")
        fleet = _Processes(threads=max(1, cores() // count))
        with closing(dispatch(fleet, count, study, portions, store)) as delivered:
            yield from delivered


class _Processes:
    """Workers of this machine (a `Fleet`): a death is seen at once, so nobody's silence needs to end the run."""

    patience_seconds = math.inf
    advice = "If it was memory: fewer --workers, or fewer problems at once"
    silence = "they are at work"
    stillborn = "What they said is above; a script that starts a run needs `if __name__ == '__main__':` around it"

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._context = multiprocessing.get_context("spawn")

    def hire(self, study: Study, trials: Sequence[Portion]) -> Hand:
        """A process that is at work."""
        here, there = self._context.Pipe()
        process = self._context.Process(target=serve, args=(study, trials, there), name="isoflop worker")
        with _as_a_worker_finds_it(self._threads):
            process.start()
        there.close()  # or the end of the process would not end the pipe
        return _Process(process, here)

    def heard(self, hands: Sequence[Hand], seconds: float) -> Sequence[Hand]:
        """All of whom there is something."""
        by_pipe = {hand.pipe: hand for hand in hands if isinstance(hand, _Process)}
        return [by_pipe[pipe] for pipe in connection.wait(list(by_pipe), seconds)]  # type: ignore[index]


@dataclass(frozen=True, eq=False, slots=True)
class _Process:
    """A worker of this machine (a `Hand`)."""

    process: SpawnProcess
    pipe: connection.Connection

    def give(self, assignments: Sequence[Assignment]) -> None:
        """Its listening thread takes it, whatever it works on."""
        with suppress(OSError):
            self.pipe.send(list(assignments))

    def hear(self) -> Message | Death:
        """What it has sent; nothing more is to come of a dead one."""
        try:
            message: Message | Exception = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(END_SECONDS)
            return Death(f"process {self.process.pid} ended with {_spelled(self.process.exitcode)}")
        if isinstance(message, Exception):
            raise message
        return message

    def end(self) -> None:
        """It has nothing that is worth a goodbye."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


def serve(study: Study, trials: Sequence[Portion], pipe: connection.Connection) -> None:
    """What a worker's process does: send messages for as long as the other end is there; last, what ended its work."""
    worker = Worker(study, trials)
    threading.Thread(target=_listen, args=(worker, pipe), daemon=True).start()
    with suppress(ConnectionError):  # the other end has gone
        try:
            for message in worker.work():
                pipe.send(message)
        except IsoflopError as error:
            pipe.send(error)
        except Exception:
            pipe.send(EngineError(f"a worker has failed:\n{traceback.format_exc()}"))


def _listen(worker: Worker, pipe: connection.Connection) -> None:
    """Take work; end the process where nobody is left to give any."""
    try:
        while True:
            worker.give(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)


@contextmanager
def _as_a_worker_finds_it(threads: int) -> Iterator[None]:
    """Start processes meanwhile: they never see a Ctrl-C, which this process answers, and have so many threads."""
    resource_tracker.ensure_running()  # it unblocks the signal when it is started
    before = {name: os.environ.get(name) for name in THREADS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update({name: str(threads) for name, value in before.items() if value is None})
    try:
        yield
    finally:
        for name in [name for name, value in before.items() if value is None]:
            del os.environ[name]
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _spelled(exitcode: int | None) -> str:
    """`SIGKILL`, or `exit code 1`."""
    if exitcode is not None and exitcode < 0:
        with suppress(ValueError):
            return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"
