"""What a grader is: it reads an answer from a text, verifies it against gold, and says which answers vote together.

A problem set supplies one. A grader of code (sandboxed execution) is a new class with these three methods and changes
nothing elsewhere. It is not a reward: it knows the gold answer, and is asked when the search is over.

    grader: Grader = MathGrader()
    read = grader.extract("6 * 7 = 42. The answer is 42.")      # Extracted("42", "the_answer_is")
    grader.verify(read.text, "42.00")                           # Verdict.CORRECT
    grader.cluster(["42", None, "42.0"])                        # ["42", None, "42"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from isoflop.core import Outcome, Problem


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer as it was written, the format it was found in, and whether that was the marked fallback."""

    text: str
    format: str
    is_fallback: bool = False


class Verdict(StrEnum):
    """What came of comparing an answer with gold. `unverifiable` counts as wrong, and is listed."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNVERIFIABLE = "unverifiable"  # too long, too deep, no mathematics, or not decided in time


class Grader(Protocol):
    """Reads, verifies and clusters the answers of one problem set."""

    def extract(self, text: str) -> Extracted | None:
        """The answer that a solution's text gives, or None."""

    def verify(self, answer: str, gold: str) -> Verdict:
        """Whether an extracted answer is right. Never hangs, crashes or executes what the text says."""

    def cluster(self, answers: Sequence[str | None]) -> list[str | None]:
        """One label per answer, equal for answers that vote together; None stays None."""


def graded(grader: Grader, problem: Problem, text: str) -> Outcome:
    """The outcome of one solution's visible text."""
    if problem.answer is None:
        return Outcome.UNGRADED
    read = grader.extract(text)
    return Outcome.NO_ANSWER if read is None else Outcome(grader.verify(read.text, problem.answer).value)
