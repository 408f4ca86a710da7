"""The grader of Countdown, where many solutions are right: it replays the lines, whatever the question was.

The answer is what a solution's lines make, and of which numbers: "15 from 3 7 12". It is right where that is what was
asked for, and solutions that make the same of the same vote together. Where a line breaks the rules (see
`isoflop/countdown.py`) or numbers are left over, the last line stands for the answer, which is then wrong.

    CountdownGrader().extract("12 - 7 = 5, left 3 5\\n5 * 3 = 15, left 15").text       # "15 from 3 7 12"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from isoflop.answers.base import Extracted, Verdict
from isoflop.countdown import play, start_of
from isoflop.specs import Spec


@dataclass(frozen=True)
class CountdownGrader(Spec):
    """Replays the lines of a solution; the gold answer is the task, as in "15 from 3 7 12"."""

    spec_family: ClassVar[str] = "grader"
    spec_name: ClassVar[str] = "countdown"

    def extract(self, text: str) -> Extracted | None:
        """What the lines make, or the last line where they are no solution; None where there is no line."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return Extracted(_made(lines) or lines[-1], "lines") if lines else None

    def verify(self, answer: str, gold: str) -> Verdict:
        """Exact."""
        return Verdict.CORRECT if answer == gold else Verdict.WRONG

    def cluster(self, answers: Sequence[str | None]) -> list[str | None]:
        """Answers are their own labels."""
        return list(answers)


def _made(lines: list[str]) -> str | None:
    start = left = start_of(lines[0])
    for line in lines:
        left = None if left is None else play(left, line)
    if start is None or left is None or len(left) != 1:
        return None
    return f"{left[0]} from {' '.join(map(str, start))}"
