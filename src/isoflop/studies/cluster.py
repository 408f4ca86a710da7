"""A run on a Ray cluster: workers with an engine each do the work, this process alone writes. Extra `ray`.

A worker is an actor that opens engines and rewards from their light specs (`worker.py`); who gets which chains, and
what becomes of a dead one's, is said in `dispatch.py`. If this process dies its workers go with it; the same command
goes on.

    run.execute(executor=RayExecutor("auto", cpus=1, gpus=0))

Placement is Ray's.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from isoflop.errors import IsoflopError, MissingExtraError, StudyError
from isoflop.studies.chains import Portion
from isoflop.studies.dispatch import Death, Hand, dispatch
from isoflop.studies.hardware import describe_hardware
from isoflop.studies.spec import Study
from isoflop.studies.store import Store
from isoflop.studies.work import Assignment, Delivered
from isoflop.studies.worker import Message, Worker

KNOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """`address`: of the cluster (`auto`: the one this machine belongs to). Each worker takes `cpus` and `gpus` of a
    node; there are `workers` of them, or as many as fit. No worker up for `patience_seconds` ends the run."""

    address: str = "auto"
    cpus: float = 1.0
    gpus: float | None = None
    workers: int | None = None
    patience_seconds: float = 300.0

    def __call__(self, study: Study, portions: Sequence[Portion], store: Store) -> Generator[Delivered, None, None]:
        """The executor (see `run.py`)."""
        if not portions:
            return
        ray = _ray(self.address)
        gpus, count = self._sizes(ray)
        count = min(count, sum(len(portion.chains) for portion in portions))
        store.note_hardware(f"{describe_hardware()}; ray: {count} workers of {self.cpus:g} CPUs and {gpus:g} GPUs")
        fleet = _Actors(ray, {"num_cpus": self.cpus, "num_gpus": gpus, "max_concurrency": 3}, self.patience_seconds)
        with closing(dispatch(fleet, count, study, portions, store)) as delivered:
            yield from delivered

    def _sizes(self, ray: Any) -> tuple[float, int]:
        """GPUs a worker, and how many workers."""
        there = ray.cluster_resources()
        gpus = self.gpus if self.gpus is not None else float(there.get("GPU", 0) > 0)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        wanted = {"CPU": self.cpus, "GPU": gpus}
        fits = [min([int(node.get(kind, 0) // n) for kind, n in wanted.items() if n], default=1) for node in nodes]
        if self.workers is None and sum(fits) < 1:
            raise StudyError(
                f"no node of the Ray cluster holds a worker of {self.cpus:g} CPUs and {gpus:g} GPUs: it has "
                f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs in {len(nodes)} nodes; ask for less"
            )
        return gpus, self.workers or sum(fits)


class _Actors:
    """Workers on the cluster (a `Fleet`)."""

    advice = "If it was memory: fewer workers a node (more --cpus-per-worker), or fewer problems at once"
    silence = "see `ray status` for what it waits for"
    stillborn = "See `ray logs` for what they said"

    def __init__(self, ray: Any, options: dict[str, Any], patience_seconds: float) -> None:
        self._ray, self._options, self.patience_seconds = ray, options, patience_seconds

    def hire(self, study: Study, trials: Sequence[Portion]) -> Hand:
        """An actor that is at work."""
        actor = self._ray.remote(Worker).options(**self._options).remote(study, trials)
        return _Actor(self._ray, actor, actor.work.options(num_returns="streaming").remote())

    def heard(self, hands: Sequence[Hand], seconds: float) -> Sequence[Hand]:
        """One at a time: Ray looks no further than it must."""
        by_stream = {hand.stream: hand for hand in hands if isinstance(hand, _Actor)}
        ready, _ = self._ray.wait(list(by_stream), num_returns=1, timeout=seconds)
        return [by_stream[stream] for stream in ready]


@dataclass(frozen=True, eq=False, slots=True)
class _Actor:
    """A worker on the cluster and its stream of messages (a `Hand`)."""

    ray: Any
    actor: Any
    stream: Any

    def give(self, assignments: Sequence[Assignment]) -> None:
        """In a thread beside the one that works."""
        self.actor.give.remote(list(assignments))

    def hear(self) -> Message | Death:
        """The next of the stream."""
        exceptions = self.ray.exceptions
        try:
            message: Message = self.ray.get(next(self.stream))
        except exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, IsoflopError) else error from None
        except (exceptions.RayError, StopIteration) as error:
            return Death((str(error).strip() or type(error).__name__).splitlines()[0])
        return message

    def end(self) -> None:
        """Ray takes its process."""
        self.ray.kill(self.actor)


def _ray(address: str) -> Any:
    """Ray, connected to the cluster."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(f"--executor ray needs Ray ({error}): pip install 'isoflop[ray]'") from None
    if not ray.is_initialized():
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="WARNING")
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            fix = "start one with `ray start --head --port 6379` and name it by --address HEAD:6379"
            raise StudyError(f"no Ray cluster at {address!r}: {reason}; {fix}") from None
    return ray


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
