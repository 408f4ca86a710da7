"""The graders there are: numbers and expressions, and multiple choice.

MathGrader().extract("... #### 18").text                   # "18"
ChoiceGrader().extract("So the answer is (B).").text       # "B"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from isoflop.answers.base import Extracted, Verdict
from isoflop.answers.cluster import cluster
from isoflop.answers.extract import FORMATS, AnswerFormat, NumberFallback, extract
from isoflop.answers.verify import verify
from isoflop.errors import SpecError, did_you_mean
from isoflop.specs import Spec


@dataclass(frozen=True)
class MathGrader(Spec):
    """Numbers and expressions, found in the declared formats, compared exactly or by math-verify."""

    spec_family: ClassVar[str] = "grader"
    spec_name: ClassVar[str] = "math"

    formats: tuple[AnswerFormat, ...] = FORMATS
    fallback: NumberFallback | None = "last_number"

    def __post_init__(self) -> None:
        _check_formats(self.formats)
        if self.fallback not in ("last_number", None):
            raise SpecError(f"fallback {self.fallback!r} is unknown; allowed: 'last_number' or None")

    def extract(self, text: str) -> Extracted | None:
        """The answer that a solution's text gives, or None."""
        return extract(text, self.formats, self.fallback)

    def verify(self, answer: str, gold: str) -> Verdict:
        """Exact for plain numbers, math-verify for expressions."""
        return verify(answer, gold)

    def cluster(self, answers: Sequence[str | None]) -> list[str | None]:
        """Equal values, equal labels."""
        return cluster(answers)


@dataclass(frozen=True)
class ChoiceGrader(Spec):
    """Multiple choice: one letter of `choices`. The fallback is the last letter that stands by itself."""

    spec_family: ClassVar[str] = "grader"
    spec_name: ClassVar[str] = "choice"

    choices: str = "ABCDE"
    formats: tuple[AnswerFormat, ...] = FORMATS
    fallback: Literal["last_letter"] | None = "last_letter"

    def __post_init__(self) -> None:
        _check_formats(self.formats)
        if not re.fullmatch("[A-Z]+", self.choices) or len(set(self.choices)) < len(self.choices):
            raise SpecError(f"choices={self.choices!r} must be distinct capital letters, such as 'ABCD'")
        if self.fallback not in ("last_letter", None):
            raise SpecError(f"fallback {self.fallback!r} is unknown; allowed: 'last_letter' or None")

    def extract(self, text: str) -> Extracted | None:
        """The letter that a solution's text gives; an answer in a declared format that is no letter stays as it is."""
        found = extract(text, self.formats, fallback=None)
        if found is not None:
            return Extracted(self._letter(found.text) or found.text, found.format)
        if self.fallback is None:
            return None
        letters = _alone(self.choices).findall(text)
        return Extracted(letters[-1], self.fallback, is_fallback=True) if letters else None

    def verify(self, answer: str, gold: str) -> Verdict:
        """Letters are equal or not; what is no letter cannot be verified."""
        read, wanted = self._letter(answer), self._letter(gold)
        if read is None or wanted is None:
            return Verdict.UNVERIFIABLE
        return Verdict.CORRECT if read == wanted else Verdict.WRONG

    def cluster(self, answers: Sequence[str | None]) -> list[str | None]:
        """The letters; what is none votes by its text."""
        return [None if answer is None else self._letter(answer) or answer for answer in answers]

    def _letter(self, text: str) -> str | None:
        match = _leading(self.choices).match(text[:100])
        return (match[1] or match[2]).upper() if match else None


def _check_formats(formats: tuple[AnswerFormat, ...]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise SpecError(f"answer format {name!r} is unknown{did_you_mean(name, FORMATS)}")


@lru_cache(maxsize=32)
def _leading(choices: str) -> re.Pattern[str]:
    r"""A capital letter that starts the text, as in B, (B), \text{B}, "B) 42"; a small one only by itself."""
    wrapper = r"\W*(?:(?:text|textbf|mathrm|mathbf|option|choice|Option|Choice)\W*)?"
    return re.compile(rf"{wrapper}(?:([{choices}])(?![\w'’])|([{choices.lower()}])\W*\Z)")


@lru_cache(maxsize=32)
def _alone(choices: str) -> re.Pattern[str]:
    """A capital letter before a bracket, a full stop, a colon or the end of its line: not the article "A"."""
    return re.compile(rf"(?<![\w'’])([{choices}])(?=[).:]|[ \t*]*$)", re.MULTILINE)
