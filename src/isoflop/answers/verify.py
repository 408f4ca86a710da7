"""Whether an answer equals the gold answer: correct, wrong or unverifiable, within five seconds whatever the text says.

Three stages, the cheap ones first: plain numbers exactly (`number.py`, microseconds); a guard against hostile text and
equality of text and of words; and for what is left, expressions, math-verify in a process that can be killed
(`symbolic.py`). Nothing is ever evaluated as code. Units are not compared: 18 dollars equals 18.

    verify("1,248.00", "1248")          # Verdict.CORRECT
    verify("x+1", "1+x")                # Verdict.CORRECT
    verify("9**9**9**9", "1")           # Verdict.UNVERIFIABLE, at once
"""

from __future__ import annotations

import re

from isoflop.answers import symbolic
from isoflop.answers.base import Verdict
from isoflop.answers.number import MAX_CHARACTERS, read_number, same_number

MAX_NESTING = 30
# A number to the power of a number to a power: 9**9**9, 9^{9^9}. A power of a bracketed power, (x^2)^3, is none.
_TOWER = re.compile(r"(?:\*\*|\^)[\s{(]*[0-9]+\s*(?:\*\*|\^)[\s{(]*[0-9]")
_HUGE_EXPONENT = re.compile(r"[0-9.][eE][-+−]?[0-9]{4}")
_WORDS = re.compile(r"[^\W\d_]{3,}(?:[\s'’-]+[^\W\d_]+)*")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")


def verify(answer: str, gold: str) -> Verdict:
    """The verdict on one answer."""
    read, wanted = read_number(answer), read_number(gold)
    if read is not None and wanted is not None:
        return Verdict.CORRECT if same_number(read, wanted) else Verdict.WRONG
    equal = same_expression(answer, gold)
    if equal is None:
        return Verdict.UNVERIFIABLE
    return Verdict.CORRECT if equal else Verdict.WRONG


def same_expression(one: str, other: str) -> bool | None:
    """Whether two answers, not both plain numbers, are equal; None where that cannot be said. `other` is the gold."""
    one, other = one.strip(), other.strip()
    if not (is_harmless(one) and is_harmless(other)):
        return None
    if one == other:
        return True
    words = _words(one), _words(other)
    if words != (None, None):
        # Read as mathematics, "listen" would be a product of letters and equal "silent".
        return words[0] == words[1]
    return _compared(one, other)


def is_readable(text: str) -> bool:
    """Whether an answer that is no plain number can be compared at all: with itself, that is."""
    text = text.strip()
    return is_harmless(text) and (_words(text) is not None or _compared(text, text) is not None)


def is_harmless(text: str) -> bool:
    """False for what is empty, or too long, too deep or too large to be handed to a computer algebra system."""
    if not text or len(text) > MAX_CHARACTERS:
        return False
    depth = 0
    for character in text:
        if character in "([{":
            depth += 1
            if depth > MAX_NESTING:
                return False
        elif character in ")]}":
            depth -= 1
    return not (_TOWER.search(text) or _HUGE_EXPONENT.search(text))


def _compared(one: str, other: str) -> bool | None:
    return symbolic.equal(_without_dollars(one), _without_dollars(other))


def _words(text: str) -> str | None:
    """`text` in lower case where it is words alone (Monday, no solution), else None."""
    plain = _TEXT.sub(r"\1", _without_dollars(text)).strip().rstrip(".")
    return " ".join(plain.casefold().split()) if _WORDS.fullmatch(plain) else None


def _without_dollars(text: str) -> str:
    return text[1:-1].strip() if len(text) > 2 and text[0] == text[-1] == "$" else text
