"""Numbers as people read them: FLOPs in one unit a column, percent, seconds, p-values; nothing becomes a dash.

unit_for([1.2e12, 3e9])      # Unit("TFLOPs", 1e12)
three_digits(0.01234)        # "0.0123"
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

NOTHING = "–"


class Unit(NamedTuple):
    """A unit and its size in FLOPs."""

    name: str
    size: float


_UNITS = (Unit("PFLOPs", 1e15), Unit("TFLOPs", 1e12), Unit("GFLOPs", 1e9), Unit("MFLOPs", 1e6), Unit("kFLOPs", 1e3))


def unit_for(flops: Iterable[float | None]) -> Unit:
    """The unit in which most of these numbers are at least 1."""
    known = sorted(value for value in flops if value)
    middle = known[len(known) // 2] if known else 0.0
    return next((unit for unit in _UNITS if middle >= unit.size), Unit("FLOPs", 1.0))


def three_digits(value: float | None) -> str:
    """Three significant digits, thousands set apart; with an exponent only below a thousandth."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float | None) -> str:
    """A share in percent with one decimal, without the sign."""
    return NOTHING if share is None else f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, always with its sign."""
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def p_value(p: float | None) -> str:
    """A p-value, cut at 0.001."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """A time as 42 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name} {rest} {part_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"
