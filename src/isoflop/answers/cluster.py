"""Which answers vote together: one canonical label for each, so that 1,248, 1248 and $1248.00 are three votes for one.

Plain numbers are labelled by their exact value, without comparing any two. The few that are left (expressions, and
decimals of six places or more, which may stand for a fraction) are compared with the labels there are, in an order that
does not depend on the order of the answers. A percentage joins the number it is written like (50% and 50), else the
value it means (50% and 0.5), else stands by itself. What cannot be read votes with its own text alone.

    cluster(["1,248", None, "1248.00", "x+1", "1+x"])     # ["1248", None, "1248", "1+x", "1+x"]
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from isoflop.answers.number import LONG_DECIMAL_PLACES, Number, read_number, same_number
from isoflop.answers.verify import is_readable, same_expression

MAX_COMPARISONS = 256  # of expressions in one call; what comes after votes by its text
MAX_SECONDS = 5.0  # a backstop against a text that is slow with every partner
_LABEL_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class _Known:
    label: str
    text: str
    number: Number | None


class _Effort:
    """What one call may still spend on comparing expressions. The clock starts after the first, which may have to start
    the process that compares."""

    def __init__(self) -> None:
        self._comparisons = 0
        self._deadline = math.inf

    def is_left(self) -> bool:
        """Count one comparison, and say whether it may be made."""
        if self._comparisons == 1:
            self._deadline = time.monotonic() + MAX_SECONDS
        self._comparisons += 1
        return self._comparisons <= MAX_COMPARISONS and time.monotonic() < self._deadline


def cluster(answers: Sequence[str | None]) -> list[str | None]:
    """A label for each answer, equal for answers that vote together; None stays None."""
    read = {text: read_number(text) for text in answers if text is not None}
    labels: dict[str, str] = {}
    percentages: dict[str, Number] = {}
    others: dict[str, Number | None] = {}
    for text, number in read.items():
        if number is None or number.decimal_places >= LONG_DECIMAL_PLACES:
            others[text] = number
        elif number.is_percent:
            percentages[text] = number
        else:
            labels[text] = str(number.value)
    if percentages:
        plain = set(labels.values())
        labels.update((text, _percent_label(number, plain)) for text, number in percentages.items())
    if others:
        labels.update(_compared(others, sorted(set(labels.values()))))
    return [None if text is None else labels[text] for text in answers]


def _percent_label(number: Number, plain: set[str]) -> str:
    as_written, as_meant = str(number.value), str(number.value / 100)
    if as_written in plain:
        return as_written
    return as_meant if as_meant in plain else f"{as_written}%"


def _compared(others: dict[str, Number | None], labels_so_far: list[str]) -> dict[str, str]:
    """Labels for what has to be compared, in the order of the texts; each new label is a partner for the next."""
    effort = _Effort()
    known = [_Known(label, label, read_number(label)) for label in labels_so_far]
    labels: dict[str, str] = {}
    for text, number in sorted(others.items()):
        # What cannot be read alone cannot be read with a partner: found out once, never compared again.
        readable = number is not None or (effort.is_left() and is_readable(text))
        label = next((one.label for one in known if readable and _equal(text, number, one, effort)), None)
        if label is None:
            label = _own_label(text)
            if readable:
                known.append(_Known(label, text, number))
        labels[text] = label
    return labels


def _equal(text: str, number: Number | None, known: _Known, effort: _Effort) -> bool:
    if number is not None and known.number is not None:
        return same_number(number, known.number)
    return effort.is_left() and bool(same_expression(text, known.text))


def _own_label(text: str) -> str:
    """The text itself, its white space collapsed; an overlong one cut, with a digest that tells it from others."""
    label = " ".join(text[: 4 * _LABEL_CHARACTERS].split())[:_LABEL_CHARACTERS]
    if len(text) <= _LABEL_CHARACTERS:
        return label
    return f"{label}… {hashlib.blake2b(text.encode(errors='surrogatepass'), digest_size=8).hexdigest()}"
