r"""Reads a plain number as an exact value: the fast path of grading, without any computer algebra.

Most answers to word problems are plain numbers: 20000, 1,248, −3, 3/4, 2 1/2, 50%, $18.00, 1e3, 1.2 \times 10^3,
\frac{3}{4}, 18., "18 dollars", "2 million". Each is read as a fraction of whole numbers, so 0.5 and 1/2 are equal and
nothing is rounded. Anything else (18 and a half, x+1, 2\pi) is not a number here: `verify.py` takes it on.

A percent sign is kept beside the value. The rule, which is math-verify's too: 50% equals 50 as well as 0.5 (and 50%),
for the sign is a unit in one book and a factor in the next. A decimal of six places or more equals what rounds to it at
its last place (0.333333 and 1/3): it stands for a value that decimals cannot write.

    read_number("$1,248.00")        # Number(Fraction(1248, 1))
    read_number("eleven")           # None
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 1000  # nothing longer is read as an answer
LONG_DECIMAL_PLACES = 6  # from here on a decimal may stand for a value it only rounds


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value; `decimal_places` counts those written, less zeros at the end, for the rule on long decimals."""

    value: Fraction
    is_percent: bool = False
    decimal_places: int = 0


_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_PLAIN = re.compile(
    rf"""(?:([-+−])\s*)?
    (?:(?:\\?[$€£¥₹]|US\$|USD)\s*([-−])?)?                              # a currency, the sign before or after it
    ({_INTEGER}?)(?:\.([0-9]*))?                                        # whole part and decimal places
    (?:(?:[eE]|\s*(?:\\times|\\cdot|×|\*)\s*10\s*\^\s*\{{?)([-+−]?[0-9]{{1,3}})\}}?)?
    (?:\s*/\s*({_INTEGER})(?:\.([0-9]+))?)?                             # a divisor
    \s*(\\?%)?
    (?:\s+\(?([A-Za-z]{{2,}}[^0-9=+*^\\{{}}$]*))?                       # a unit: words
    """,
    re.VERBOSE,
)
_MIXED = re.compile(r"(?:([-+−])\s*)?([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)")
_DIGIT = re.compile("[0-9]")

_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_DEGREES = re.compile(r"\^?\{?\\circ\}?|°")
# Thin, no-break and plain spaces, LaTeX's own, an apostrophe or {,} between groups of three digits.
_GROUPING = re.compile(r"(?<=[0-9]),?(?:[\s\u00a0\u2009\u202f'’]|\\[,!;:\s]|\{,\})+(?=[0-9]{3}(?![0-9]))")
_SPACING = re.compile(r"[\u00a0\u2009\u202f~]|\\[,!;:\s]")

_WORD = re.compile("[a-z]+")
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PERCENT = frozenset({"percent", "percentage", "pct"})
# Words after a number that change its value, so that they cannot be its unit.
# fmt: off
_NOT_UNITS = frozenset((
    "and", "or", "to", "half", "halves", "third", "thirds", "quarter", "quarters", "fourth", "fourths", "fifth",
    "fifths", "tenth", "tenths", "plus", "minus", "times", "over", "divided", "squared", "cubed", "pi", "sqrt",
    "sin", "cos", "tan", "log", "ln", "exp", "choose", "mod",
))
# fmt: on


def read_number(text: str) -> Number | None:
    """The exact value of a plain number, or None where `text` is something else."""
    if len(text) > MAX_CHARACTERS or not _DIGIT.search(text):
        return None
    if text.isdecimal() and text.isascii():
        return Number(Fraction(int(text)))
    text = text.strip().rstrip(".,;: ")
    return _read(text) or _read(_without_markup(text))


def same_number(one: Number, other: Number) -> bool:
    """Equality by the rules at the top of this file."""
    if one.is_percent == other.is_percent:
        return _equal(one, other)
    percent, plain = (one, other) if one.is_percent else (other, one)
    return _equal(percent, plain) or _equal(Number(percent.value / 100, False, percent.decimal_places + 2), plain)


def _equal(one: Number, other: Number) -> bool:
    if one.value == other.value:
        return True
    places = [n.decimal_places for n in (one, other) if n.decimal_places >= LONG_DECIMAL_PLACES]
    return bool(places) and abs(one.value - other.value) <= Fraction(1, 2 * 10 ** min(places))


def _read(text: str) -> Number | None:
    match = _PLAIN.fullmatch(text)
    if match is None:
        return _read_mixed(text)
    sign, late_sign, whole, places, exponent, divisor, divisor_places, percent, unit = match.groups()
    if not whole and not places:
        return None
    value = _decimal(whole, places)
    decimal_places = len(places.rstrip("0")) if places else 0
    if exponent:
        power = int(exponent.replace("−", "-"))
        value *= Fraction(10) ** power
        decimal_places -= power
    if divisor:
        below = _decimal(divisor, divisor_places)
        if not below:
            return None
        value, decimal_places = value / below, 0
    if unit:
        words = _WORD.findall(unit.lower())
        if not _NOT_UNITS.isdisjoint(words):
            return None
        value *= _SCALES.get(words[0], 1)
        percent = percent or words[0] in _PERCENT
    negative = (sign is not None and sign in "-−") != (late_sign is not None)
    return Number(-value if negative else value, bool(percent), max(decimal_places, 0))


def _read_mixed(text: str) -> Number | None:
    match = _MIXED.fullmatch(text)
    if match is None or not int(match[4]):
        return None
    value = int(match[2]) + Fraction(int(match[3]), int(match[4]))
    return Number(-value if match[1] and match[1] in "-−" else value)


def _decimal(whole: str, places: str | None) -> Fraction:
    digits = whole.replace(",", "")
    return Fraction(int(digits + places), 10 ** len(places)) if places else Fraction(int(digits))


def _without_markup(text: str) -> str:
    """`text` without maths delimiters, LaTeX's spacing and text commands, and digit grouping other than commas."""
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)].rstrip(".,;: ")
            break
    text = _GROUPING.sub(",", text)
    text = _SPACING.sub(" ", _DEGREES.sub("", text))
    text = _FRACTION.sub(r" \1/\2", _TEXT.sub(r" \1", text))
    return text.strip().rstrip(".,;: ")
