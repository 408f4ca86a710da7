"""Choosing among trajectories by reward: the order of the candidates never decides.

rng = generator(root, "beam")
kept = best(children, rewards, 4, rng)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoflop.core import Trajectory
from isoflop.randomness import stream_key


def generator(root: Trajectory, purpose: str) -> np.random.Generator:
    """A generator of the search's own, seeded by (seed, problem, purpose)."""
    return np.random.default_rng(stream_key(root.origin.seed, f"{purpose}|{root.origin.problem.id}", ()))


def best(
    nodes: Sequence[Trajectory], rewards: Sequence[float], count: int, rng: np.random.Generator
) -> list[Trajectory]:
    """The `count` nodes of highest reward, best first; equal ones in seeded random order."""
    chance = rng.permutation(len(nodes))
    order = sorted(range(len(nodes)), key=lambda i: (-rewards[i], chance[i]))
    return [nodes[i] for i in order[:count]]


def systematic(shares: Sequence[float], total: int, offset: float) -> list[int]:
    """Systematic resampling: counts that sum to `total`, each within one of its proportional share (Kitagawa 1996).

    `offset` in [0, 1) is the one random number it needs.
    """
    edges = np.cumsum(np.asarray(shares, dtype=float))
    edges *= total / edges[-1]
    edges[-1] = total  # rounding must not lose the last tick
    ticks = np.searchsorted(np.arange(total) + offset, edges, side="left")
    return [int(count) for count in np.diff(ticks, prepend=0)]
