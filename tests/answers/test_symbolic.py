"""The process that compares expressions: reused, killed at its limit, replaced, and gone when its owner is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.answers.symbolic import Comparer
from isoflop.errors import MissingExtraError

SLOW = "((9^{99999})^{99999})^{99999}"


@pytest.fixture(scope="module")
def comparer() -> Iterator[Comparer]:
    """One with little patience."""
    made = Comparer(processor_seconds=0.3)
    yield made
    made.close()


def test_a_comparison_over_the_limit_is_undecided_and_the_next_one_is_answered(comparer: Comparer) -> None:
    assert comparer.compare("x+1", "1+x") is True
    assert comparer.compare(SLOW, "1") is None
    assert comparer.compare("x", "y") is False


def test_wall_time_is_limited_too() -> None:
    comparer = Comparer(processor_seconds=60, wall_seconds=0.5)
    comparer.compare("x", "y")
    started = time.perf_counter()
    assert comparer.compare(SLOW, "1") is None
    assert time.perf_counter() - started < 4
    comparer.close()


def test_the_limit_holds_outside_the_main_thread_and_threads_get_their_own_answers(comparer: Comparer) -> None:
    questions = [(f"x+{n}", f"{n % 3}+x") for n in range(6)] + [(SLOW, "1")]
    answers: dict[int, bool | None] = {}
    threads = [
        threading.Thread(target=lambda i=i, q=question: answers.update({i: comparer.compare(*q)}))
        for i, question in enumerate(questions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[i] for i in range(7)] == [True, True, True, False, False, False, None]


def test_a_process_killed_from_outside_is_replaced(comparer: Comparer) -> None:
    comparer.compare("x", "x")
    process = comparer._process
    assert process is not None
    process.kill()
    process.wait()
    assert comparer.compare("x+1", "1+x") is True


def test_an_interrupted_question_leaves_no_reply_for_the_next(
    comparer: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("isoflop.answers.symbolic._ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            comparer.compare("x", "x")
    assert comparer.compare("x", "y") is False


def test_a_python_without_math_verify_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('No module named antlr4')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        MissingExtraError, match=r"could not load: No module named antlr4; install it with `pip install"
    ):
        Comparer().compare("x", "x")


SCRIPT = """
import os
from isoflop.answers import symbolic

print(symbolic.equal("x+1", "1+x"), symbolic._comparer._process.pid, flush=True)
child = os.fork()
if child == 0:
    print(symbolic.equal("x+2", "2+x"), symbolic._comparer._process.pid, flush=True)
    raise SystemExit
os.waitpid(child, 0)
print(symbolic.equal("x+3", "3+x"), symbolic._comparer._process.pid, flush=True)
"""


def test_a_fork_starts_its_own_process_and_none_outlives_its_owner() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""  # no ResourceWarning
    (before, parents), (in_child, childs), (after, still_parents) = (line.split() for line in done.stdout.splitlines())
    assert before == in_child == after == "True"
    assert parents == still_parents != childs
    for process_id in (parents, childs):
        with pytest.raises(ProcessLookupError):
            os.kill(int(process_id), 0)


def test_nothing_slow_is_imported_for_plain_numbers() -> None:
    script = (
        "import sys; from isoflop.answers.graders import MathGrader; g = MathGrader(); g.verify('1,248', '1248');"
        "g.cluster(['1', '2', '50%']); print(sorted({'sympy', 'math_verify', 'torch', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
