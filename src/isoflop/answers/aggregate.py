"""Step rewards -> one weight for the vote: the last, the minimum, the product or the mean of them.

Which is right depends on what the reward was trained on: `min` for Math-Shepherd (arXiv 2312.08935), `last` for rewards
that estimate the value of the prefix, as REBASE uses them (arXiv 2408.00724).

    aggregate([0.9, 0.5, 0.8], "min")      # 0.5
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from isoflop.errors import RewardError, SpecError, did_you_mean

Aggregate = Literal["last", "min", "prod", "mean"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


def aggregate(rewards: Sequence[float], rule: Aggregate) -> float:
    """One weight from the rewards of a solution's steps, first step first."""
    if rule not in _RULES:
        raise SpecError(f"aggregate {rule!r} is unknown{did_you_mean(rule, AGGREGATES)}")
    if not rewards:
        raise RewardError(f"no step rewards to aggregate by {rule!r}: an unscored solution has no weight, not weight 0")
    if not all(map(math.isfinite, rewards)):
        raise RewardError(f"step rewards must be finite numbers, got {list(rewards)}")
    return _RULES[rule](rewards)


_RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda rewards: rewards[-1],
    "min": min,
    "prod": math.prod,
    "mean": lambda rewards: math.fsum(rewards) / len(rewards),
}
