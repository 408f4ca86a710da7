"""The process that runs math-verify: one line of JSON in, one line out, each under time limits the kernel enforces.

It is started by `symbolic.py` as a script and imported by nobody. One limit is of processor time, so that a busy
machine does not change a verdict, the other of wall time. They act by the default action of their signals: the process
ends, even in the middle of a C function that multiplies numbers of a million digits. math-verify's own limits raise an
exception instead, which such a function never sees, and work in the main thread alone.

Only math-verify's LaTeX reader is used (a grammar). Its reader of plain
expressions hands the text to `eval`, so answers are never given to it.

    ["x+1", "1+x"]  ->  true      ["x", "y"]  ->  false      ["{", "x"]  ->  null (not read, or not decided)
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

MEMORY_BYTES = 4 << 30


def main(processor_seconds: float, wall_seconds: float) -> None:
    """Announce readiness, then answer line by line until the input ends."""
    # What a library prints must not be taken for a reply.
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes this process
    for limit in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(limit, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {limit})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
    try:
        import math_verify  # noqa: F401
    except ImportError as error:
        print(json.dumps(str(error)), file=replies, flush=True)
        return
    compare("x+1", "1+x")  # loads the grammar's tables: not to be counted as the first question's time
    print(json.dumps("ready"), file=replies, flush=True)
    for line in sys.stdin:
        answer, gold = json.loads(line)
        _set_limits(processor_seconds, wall_seconds)
        verdict = compare(answer, gold)
        _set_limits(0, 0)
        print(json.dumps(verdict), file=replies, flush=True)


def _set_limits(processor_seconds: float, wall_seconds: float) -> None:
    """Start the clocks; 0 stops them."""
    signal.setitimer(signal.ITIMER_PROF, processor_seconds)
    signal.setitimer(signal.ITIMER_REAL, wall_seconds)


def compare(answer: str, gold: str) -> bool | None:
    """Whether two expressions are equal; None where one cannot be read or the comparison fails."""
    from math_verify import verify

    try:
        answer_read, gold_read = read(answer), read(gold)
        if not answer_read or not gold_read:
            return None
        return bool(verify(list(gold_read), list(answer_read), timeout_seconds=None, raise_on_error=True))
    except Exception:  # antlr, sympy and the recursion limit fail in dozens of ways, all of which mean: not decided
        return None


@lru_cache(maxsize=1024)
def read(text: str) -> tuple[Any, ...]:
    """What math-verify makes of one LaTeX expression: a tuple of sympy objects, empty where it cannot be read."""
    from math_verify import LatexExtractionConfig, parse

    boxed = f"\\boxed{{{text.replace('**', '^')}}}"
    config = [LatexExtractionConfig(boxed_match_priority=0)]
    return tuple(parse(boxed, config, fallback_mode="no_fallback", parsing_timeout=None))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
