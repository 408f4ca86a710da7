"""Verdicts: right on numbers, words and expressions; unverifiable, quickly, on text made to hang or to execute."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from isoflop.answers import symbolic
from isoflop.answers.base import Verdict
from isoflop.answers.verify import is_harmless, verify


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("20000", "20000"),
        ("1,248.00", "1248"),
        ("−3", "-3"),
        ("0.75", r"\frac{3}{4}"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("$18.00", "18"),
        ("1e3", "1,000"),
        ("x+1", "1+x"),
        ("$x^2 - 1$", "(x-1)(x+1)"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        ("2**10", "1024"),
        ("x=5", "5"),
        ("(1, 2)", "(1,2)"),
        (r"\{2, 1\}", r"\{1, 2\}"),
        ("Monday", "monday."),
        (r"\text{no solution}", "No solution"),
    ],
)
def test_correct(answer: str, gold: str) -> None:
    assert verify(answer, gold) is Verdict.CORRECT


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("18", "19"), ("-3", "3"), ("x+1", "x+2"), ("eleven", "11"), ("listen", "silent"), ("(1, 2)", "(2, 1)")],
)
def test_wrong(answer: str, gold: str) -> None:
    assert verify(answer, gold) is Verdict.WRONG


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9",
        "9^9^9^9",
        "9^{9^{9^9}}",
        "{" * 100_000 + "}" * 100_000,
        "(" * 100_000,
        "9" * 1_000_000,
        "1e999999999",
        "((9^{99999})^{99999})^{99999}",  # passes the guard: the process is killed
        r"\frac{" * 25,
        "\\",
        "\x00",
        "\ud800 + 1",
        "",
    ],
    ids=lambda text: f"{text[:12]!r}x{len(text)}",
)
def test_hostile_text_is_unverifiable_within_five_seconds(text: str) -> None:
    assert verify("x", "y") is Verdict.WRONG  # the process runs: its start is not part of the limit
    started = time.perf_counter()
    assert verify(text, "18") is Verdict.UNVERIFIABLE
    assert time.perf_counter() - started < 5
    assert verify("x+1", "1+x") is Verdict.CORRECT  # and it does no harm to the next


def test_text_is_never_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    for text in (
        f"__import__('pathlib').Path('{target}').touch()",
        f"1 + __import__('pathlib').Path('{target}').touch()",
        rf"\text{{1}} + exec(\"open('{target}', 'w')\")",
    ):
        assert verify(text, "1") is not Verdict.CORRECT
        assert verify(text, "x") is not Verdict.CORRECT
    assert not target.exists()


def test_the_guard_lets_honest_expressions_through() -> None:
    for text in ("x^2 + y^2", "(x^2)^3", "2^{10}", "e^{x^2}", "1.5 \\times 10^{12}", r"\frac{1}{1+\frac{1}{1+x}}"):
        assert is_harmless(text), text


def test_plain_numbers_get_the_verdict_of_math_verify() -> None:
    texts = ["1", "2", "-2", "0.5", "1/2", "0.25", "1248", "1,248", "1248.00", "3/4", "50%", r"\frac{3}{4}"]
    for answer, gold in itertools.product(texts, repeat=2):
        assert (verify(answer, gold) is Verdict.CORRECT) == symbolic.equal(answer, gold), (answer, gold)
