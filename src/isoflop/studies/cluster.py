"""A run on a Ray cluster: workers with an engine each do the work, this process alone writes. Extra `ray`.

A worker is an actor that opens engine and rewards from their light specs, once. It is kept supplied with chains (the
jobs on one problem that share samples), runs as many at a time as the study says, and streams every attempt back as it
ends. A worker that dies (its node, its memory) gives back what it had not delivered; what was delivered is stored, so
nothing is lost and nothing is made twice. If this process dies its workers go with it, and the same command goes on.

    run.execute(executor=RayExecutor("auto", cpus=1, gpus=0))

It schedules chains, not tokens: batching is the engine's. Placement is Ray's.
"""

from __future__ import annotations

import socket
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.engines.base import EngineSpec
from isoflop.errors import EngineError, IsoflopError, MissingExtraError, StudyError
from isoflop.studies.chains import Chain
from isoflop.studies.cluster_worker import Message, Worker
from isoflop.studies.hardware import describe_hardware
from isoflop.studies.spec import Study
from isoflop.studies.store import Key, Store
from isoflop.studies.work import Assignment, Finished, samples_of

MOST_DEATHS = 5  # of workers that were at work on the same chain
WAIT_SECONDS = 0.5
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

    def __call__(
        self, study: Study, spec: EngineSpec, chains: Sequence[Chain], store: Store
    ) -> Generator[tuple[Finished, dict[Role, Cost]], None, None]:
        """The executor (see `run.py`)."""
        ray = _ray(self.address)
        gpus, count = self._sizes(ray)
        count = min(count, len(chains))
        store.note_hardware(f"{describe_hardware()}; ray: {count} workers of {self.cpus:g} CPUs and {gpus:g} GPUs")
        with closing(_Crew(ray, self, gpus, count, study, spec, chains, store).run()) as delivered:
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


@dataclass(slots=True)
class _Member:
    """A worker from here: its actor, its stream of messages, the chains it has, and what it has in flight."""

    actor: Any
    stream: Any
    chains: dict[int, Chain] = field(default_factory=dict)
    out: dict[Key, int] = field(default_factory=dict)  # attempts that have not come back, with their chain's number
    in_flight: dict[Role, Cost] = field(default_factory=dict)


class _Crew:
    """All workers on one engine, and the chains that are still to be done."""

    def __init__(
        self,
        ray: Any,
        executor: RayExecutor,
        gpus: float,
        count: int,
        study: Study,
        spec: EngineSpec,
        chains: Sequence[Chain],
        store: Store,
    ) -> None:
        self.ray, self.executor, self.study, self.spec, self.store = ray, executor, study, spec, store
        self._options = {"num_cpus": executor.cpus, "num_gpus": gpus, "max_concurrency": 3}
        self._waiting = deque(enumerate(chains))
        self._deaths: Counter[int] = Counter()
        self._left: dict[int, set[Key]] = {}  # of the chains that are out: what has not come back
        self._trial = list({place: chain for chain in reversed(chains) for place in chain.places}.values())
        self._members: dict[Any, _Member] = {}  # by stream
        self._heard = time.monotonic()
        self._told: tuple[float, dict[Role, Cost]] = (0.0, {})
        for _ in range(count):
            self._hire()

    def run(self) -> Generator[tuple[Finished, dict[Role, Cost]], None, None]:
        """Until every chain is done."""
        try:
            while self._waiting or self._left:
                ready, _ = self.ray.wait(list(self._members), num_returns=1, timeout=WAIT_SECONDS)
                for stream in ready:
                    yield from self._hear(self._members[stream])
                if time.monotonic() - self._heard > self.executor.patience_seconds:
                    raise EngineError(
                        f"no worker has been heard of for {self.executor.patience_seconds:g} seconds; see "
                        "`ray status` for what it waits for. Finished attempts are stored; the same command goes on"
                    )
        finally:
            self.store.heartbeat(self._in_flight(at_most_seconds=0.0))
            for member in self._members.values():
                self.ray.kill(member.actor)

    def _hire(self) -> None:
        actor = self.ray.remote(Worker).options(**self._options).remote(self.study, self.spec, self._trial)
        stream = actor.work.options(num_returns="streaming").remote()
        self._members[stream] = _Member(actor, stream)

    def _hear(self, member: _Member) -> Iterator[tuple[Finished, dict[Role, Cost]]]:
        """One message of a worker's: what it has finished. It gets new chains, or, if it has died, a successor."""
        exceptions = self.ray.exceptions
        try:
            message: Message = self.ray.get(next(member.stream))
        except exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, IsoflopError) else error from None
        except (exceptions.RayError, StopIteration) as error:
            self._bury(member, error)
            return
        self._heard, member.in_flight = time.monotonic(), message.in_flight
        for finished in message.finished:
            place = member.out.pop(finished.key)
            yield finished, self._in_flight()
            self._left[place].discard(finished.key)
            if not self._left[place]:
                del self._left[place], member.chains[place]
        self._feed(member)

    def _feed(self, member: _Member) -> None:
        """Keep it supplied with half as much again as it works on at a time."""
        most = self.study.concurrency + -(-self.study.concurrency // 2)
        # Towards the end what is left is shared out.
        most = min(most, 1 + (len(self._waiting) + len(self._left)) // len(self._members))
        given: list[Assignment] = []
        while self._waiting and len(member.chains) < most:
            place, chain = self._waiting.popleft()
            member.chains[place] = chain
            self._left[place] = {(arm, chain.place, chain.seed) for arm in chain.places}
            member.out.update(dict.fromkeys(self._left[place], place))
            given.append(Assignment(chain, samples_of(self.store, chain)))
        if given:
            member.actor.give.remote(given)

    def _bury(self, member: _Member, error: BaseException) -> None:
        """What a dead worker has not delivered waits again; what it had spent on that is lost."""
        self.store.lose(member.in_flight)
        for place, chain in member.chains.items():
            self._deaths[place] += 1
            if self._deaths[place] >= MOST_DEATHS:
                raise EngineError(
                    f"{MOST_DEATHS} workers have died with problem {chain.problem.id!r} among their work, the last one "
                    f"so: {str(error).strip().splitlines()[0]}. If it was memory: fewer workers a node (more "
                    "--cpus-per-worker), or fewer problems at once. Finished attempts are stored; run it again to go on"
                )
            # Last in line: should it be what kills, all else is done first.
            self._waiting.append((place, _rest(chain, self._left.pop(place))))
        del self._members[member.stream]
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
