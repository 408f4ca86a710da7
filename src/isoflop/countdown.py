"""The rules of Countdown: make a target of given numbers by + - *, each number used once, no result below zero.

A line takes two numbers and leaves the others and the result, all written out in any order. It is neither the problem
set (`problems/countdown.py`) nor the grader (`answers/countdown.py`), which both stand on these rules.

    play((3, 7, 12), "12 - 7 = 5, left 3 5")      # (3, 5)
    play((3, 7, 12), "12 - 7 = 6, left 3 6")      # None: against the rules
    reachable((3, 5), 15)                          # True
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import combinations, product

Numbers = tuple[int, ...]  # in ascending order

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_LINE = re.compile(r"([0-9]{1,18}) ([-+*]) ([0-9]{1,18}) = ([0-9]{1,18}), left ([0-9]{1,18}(?: [0-9]{1,18})*)")


def play(numbers: Numbers, line: str) -> Numbers | None:
    """The numbers that a line leaves of `numbers`, or None where it breaks a rule or says something false."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    one, other, result = int(match[1]), int(match[3]), int(match[4])
    others = list(numbers)
    for operand in (one, other):
        if operand not in others:
            return None
        others.remove(operand)
    left = _ascending(match[5].split())
    is_true = OPERATIONS[match[2]](one, other) == result and left == _ascending([*others, result])
    return left if is_true else None


def start_of(line: str) -> Numbers | None:
    """The numbers that there were before a line, by its own account."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        return None
    numbers = [int(number) for number in match[5].split()]
    if int(match[4]) not in numbers:
        return None
    numbers.remove(int(match[4]))
    return _ascending([*numbers, match[1], match[3]])


def move(numbers: Numbers, low: int, high: int, sign: str) -> tuple[str, Numbers]:
    """The line that joins the numbers at two places, the larger first, and what it leaves."""
    others = [number for place, number in enumerate(numbers) if place not in (low, high)]
    result = OPERATIONS[sign](numbers[high], numbers[low])
    left = _ascending([*others, result])
    return f"{numbers[high]} {sign} {numbers[low]} = {result}, left {' '.join(map(str, left))}", left


def moves(numbers: Numbers) -> Iterator[tuple[str, Numbers]]:
    """All lines that may be written, each with what it leaves."""
    for (low, high), sign in product(combinations(range(len(numbers)), 2), OPERATIONS):
        yield move(numbers, low, high, sign)


@lru_cache(maxsize=1 << 18)
def reachable(numbers: Numbers, target: int) -> bool:
    """Whether the target can be made of all the numbers: an exhaustive search that remembers what it has seen."""
    if len(numbers) == 1:
        return numbers[0] == target
    return any(reachable(left, target) for _, left in moves(numbers))


def _ascending(numbers: Iterable[int | str]) -> Numbers:
    return tuple(sorted(map(int, numbers)))
