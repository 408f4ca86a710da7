"""Ray's calls that the executor makes, in this process: real workers in threads, messages in queues, deaths on demand.

It is no simulation of Ray: the executor is tested on a real cluster, too (`make test-cluster`). It makes the executor's
own book-keeping testable in a second: what it does when a worker dies between any two messages.

    fake = FakeRay(nodes=3, die_after=[2]); RayExecutor(...) with cluster._ray patched to give it
"""

from __future__ import annotations

import queue
import threading
import time


class RayError(Exception):
    """As ray.exceptions.RayError."""


class RayTaskError(RayError):
    """As ray.exceptions.RayTaskError: the worker's own code raised `cause`."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class FakeRay:
    """`die_after[i]`: the i-th worker hired dies once it has sent so many messages (None: never)."""

    class exceptions:
        RayError, RayTaskError = RayError, RayTaskError

    def __init__(self, nodes=3, die_after=()):
        self._nodes, self._die_after, self.hired, self.killed = nodes, list(die_after), 0, 0

    def cluster_resources(self):
        return {"CPU": float(self._nodes)}

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 1.0}} for _ in range(self._nodes)]

    def remote(self, cls):
        fake = self

        class Handle:
            def options(self, **_):
                return self

            def remote(self, *arguments):
                fate = fake._die_after[fake.hired] if fake.hired < len(fake._die_after) else None
                fake.hired += 1
                return _Actor(cls(*arguments), fate)

        return Handle()

    def wait(self, streams, num_returns, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            ready = [stream for stream in streams if not stream.messages.empty()]
            if ready:
                return ready[:num_returns], []
            time.sleep(0.001)
        return [], streams

    def get(self, reference):
        if isinstance(reference, BaseException):
            raise reference
        return reference

    def kill(self, actor):
        actor.stream.stopped.set()
        self.killed += 1


class _Actor:
    def __init__(self, worker, fate):
        self.worker, self.fate, self.stream = worker, fate, _Stream()
        self.work, self.give = self, _Call(worker.give)

    def options(self, **_):
        return self

    def remote(self):
        threading.Thread(target=self.run, daemon=True).start()
        return self.stream

    def run(self):
        sent = 0
        try:
            for message in self.worker.work():
                if self.stream.stopped.is_set():
                    return
                if sent == self.fate:
                    self.stream.messages.put(RayError("The actor died unexpectedly"))
                    return
                self.stream.messages.put(message)
                sent += 1
        except Exception as error:
            self.stream.messages.put(RayTaskError(error))


class _Call:
    def __init__(self, call):
        self.remote = call


class _Stream:
    def __init__(self):
        self.messages, self.stopped = queue.Queue(), threading.Event()

    def __next__(self):
        return self.messages.get(timeout=30)
