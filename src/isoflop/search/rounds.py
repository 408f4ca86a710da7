"""Adaptive stopping for searches: a tree at a time, until the leading answer is unlikely to be overtaken.

The rule is Adaptive-Consistency's (arXiv 2305.11860), over the solutions of all trees so far. Trees share the prompt
and nothing else, so several small ones spend what a large one would on the problems that need it.

    solutions = yield from in_rounds(self._tree, root, rounds=4, confidence=0.95)
"""

from __future__ import annotations

from collections.abc import Callable

from isoflop.core import Trajectory
from isoflop.search.adaptive_consistency import leader_probability
from isoflop.search.base import Read, Search
from isoflop.specs import require


def in_rounds(tree: Callable[[Trajectory, int], Search], root: Trajectory, rounds: int, confidence: float) -> Search:
    """`tree(root, round)` at most `rounds` times; the solutions of all of them."""
    solutions = list((yield from tree(root, 0)))
    for number in range(1, rounds):
        labels = yield Read(solutions)
        if leader_probability(labels) > confidence:
            break
        solutions += yield from tree(root, number)
    return solutions


def require_rounds(name: str, rounds: int, confidence: float) -> None:
    """Raise SpecError for values that mean nothing."""
    require(rounds >= 1, f"{name}(rounds={rounds}): at least 1")
    require(0.5 < confidence < 1, f"{name}(confidence={confidence}): between 0.5 and 1")


def purpose(name: str, number: int) -> str:
    """What a tree's own random numbers are for: the first tree's are those of a search without rounds."""
    return f"{name} round {number}" if number else name
