r"""Equality of expressions by math-verify, in a process of its own that can be killed: sympy cannot be interrupted.

The process is started at the first expression (about a second), then reused: a comparison takes about ten
milliseconds. One that passes a limit ends the process, and the next comparison starts another. Nothing is compared here
that `verify.py` can settle by itself: plain numbers, words, hostile text. It needs a POSIX system.

    equal(r"\frac{x}{2}", "x/2")      # True
    equal("(((9^{99999})^{99999})^{99999})", "1")      # None, after WALL_SECONDS at most
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from isoflop.errors import MissingExtraError

# Limits of one comparison; starting the process is not counted. Processor time decides, so that a busy machine does not
# change a verdict; wall time is the promise.
PROCESSOR_SECONDS = 2.0
WALL_SECONDS = 4.0


@lru_cache(maxsize=4096)
def equal(answer: str, gold: str) -> bool | None:
    """Whether math-verify finds the two equal; None where it cannot read one, or not decide within the limits."""
    return _comparer.compare(answer, gold)


class Comparer:
    """Owns the process. Safe to use from several threads, and after a fork (the child starts a process of its own)."""

    def __init__(self, processor_seconds: float = PROCESSOR_SECONDS, wall_seconds: float = WALL_SECONDS) -> None:
        self._limits = (str(processor_seconds), str(wall_seconds))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def compare(self, answer: str, gold: str) -> bool | None:
        """Ask the process; None where it died of the question."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._stop()
                self._process = self._start()
            try:
                reply = _ask(self._process, json.dumps([answer, gold]))
            except BaseException:
                self._stop()  # a half-read reply would be taken for the next one's
                raise
            if reply is None:
                self._stop()
            return None if reply is None else json.loads(reply)

    def close(self) -> None:
        """End the process; safe to call twice. The next comparison starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("symbolic_worker.py")
        # -P: this folder must not be searched for modules. Unbuffered pipes: nothing is left to flush after a fork.
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(script), *self._limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert process.stdout is not None
        greeting = process.stdout.readline()
        if greeting != b'"ready"\n':
            _end(process)
            said = json.loads(greeting) if greeting else "it ended without a word"
            raise MissingExtraError(
                f"expressions are compared by math-verify, which {sys.executable} could not load: {said}; "
                "install it with `pip install math-verify 'latex2sympy2-extended[antlr4_13_2]'`"
            )
        return process

    def _stop(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _forget(self) -> None:
        """In a forked child: the process is the parent's. Drop it unharmed."""
        self._lock = threading.Lock()
        if self._process is not None:
            _close_pipes(self._process)
            self._process.returncode = 0  # or Popen's finaliser would warn of a process that is not ours
            self._process = None


def _ask(process: subprocess.Popen[bytes], question: str) -> bytes | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(question.encode() + b"\n")
    except BrokenPipeError:
        return None
    reply = process.stdout.readline()
    return reply if reply.endswith(b"\n") else None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


_comparer = Comparer()
