"""Identical trajectories are one state: counted as often as they came, grown and scored once.

At temperature 1 confident steps come out the same for several children. What goes on from equal texts has the same
distribution, so one of them can stand for all, with a credit of how many they were: the width they share does not
change, and what reads, scores and thinks about them is paid once. (Directions, not near-copies, should share the
width: arXiv 2506.15707 finds them by embeddings; here equality is exact.)

    first_of_each([a, b, a_again])            # [a, b, a]
    counted([a, b, a])                        # {a: 2, b: 1}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from isoflop.core import Trajectory


def first_of_each(nodes: Sequence[Trajectory]) -> list[Trajectory]:
    """Each node's stand-in: the first of the nodes with its text and state of completion."""
    first: dict[tuple[bool, str], Trajectory] = {}
    return [first.setdefault((node.finished, node.text), node) for node in nodes]


def counted(nodes: Iterable[Trajectory]) -> dict[Trajectory, int]:
    """How often each is there, in order of appearance."""
    return dict(Counter(nodes))
