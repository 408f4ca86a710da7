"""The one form that imported samples take, and the checks that all importers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isoflop.errors import ProblemError
from isoflop.problems.rows import Row


@dataclass(frozen=True, slots=True)
class ImportedSample:
    """One solution that somebody else's run wrote for one problem: the `index`-th of that problem, from 0.

    `logprobs` are those of its tokens, in nats; `reward` is what their scorer gave. None where the file has none.
    """

    problem_id: str
    question: str
    gold: str | None
    index: int
    text: str
    logprobs: tuple[float, ...] | None = None
    reward: float | None = None


def first_of(row: Row, names: Sequence[str]) -> str | None:
    """The first of `names` that the row has a value for."""
    return next((name for name in names if row.get(name) is not None), None)


def number(value: Any, where: str) -> float:
    """A finite number, else ProblemError: NaN is no reward and no log-probability."""
    try:
        found = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ProblemError(f"{where}: {str(value)[:100]!r} is not a finite number")
    return found


def token_logprobs(value: Any, where: str) -> tuple[float, ...]:
    """One log-probability a token."""
    if not isinstance(value, list):
        raise ProblemError(f"{where}: wanted a list with one number a token, got {type(value).__name__}")
    found = tuple(number(item, f"{where}[{index}]") for index, item in enumerate(value))
    if found and max(found) > 1e-3:  # rounding may lift a log-probability a little above zero
        raise ProblemError(f"{where}: {max(found)} is above 0; log-probabilities in nats are wanted, not probabilities")
    return found
