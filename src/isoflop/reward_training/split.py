"""Problems for training and problems held out: all steps of a problem are on one side.

held_out_problems(["a", "b", "a", "c"], share=0.3, seed=0)      # frozenset({"b"}), say
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from isoflop.errors import StudyError
from isoflop.randomness import stream_key


def held_out_problems(problems: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """That share of the distinct problems, at least one, drawn by the seed; their order does not matter."""
    distinct = set(problems)
    if not 0 < share < 1:
        raise StudyError(f"held-out share {share}: it must lie between 0 and 1, for example 0.1")
    if len(distinct) < 2:
        raise StudyError(
            f"the labels are of {len(distinct)} problem; one is held out to stop by, so at least two are needed"
        )
    drawn = sorted(distinct, key=lambda problem: (stream_key(seed, f"held out|{problem}", ()), problem))
    return frozenset(drawn[: min(math.ceil(share * len(distinct)), len(distinct) - 1)])
