"""The final answer among candidates: by majority, weighted sum or best single one; ties by seeded chance, and reported.

The order of the candidates never decides: equal scores are drawn among in the order of their labels, with the generator
given. A candidate without an answer never wins against one with. A candidate without a weight is an error where weights
count: unscored is not 0.

Majority is self-consistency (arXiv 2203.11171); the weighted vote and best-of-n are compared in arXiv 2408.00724.

    vote("weighted", [("18", 0.9), ("20", 0.4), ("20", 0.3), (None, 0.99)], np.random.default_rng(0)).label    # "18"
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from isoflop.errors import RewardError, SpecError, did_you_mean

VoteRule = Literal["majority", "weighted", "best"]
VOTE_RULES: tuple[VoteRule, ...] = get_args(VoteRule)
Candidate = tuple[str | None, float | None]  # label, None where no answer was read; weight, None where unscored
TIE_TOLERANCE = 1e-12  # relative: sums of the same weights in another grouping differ by rounding alone


@dataclass(frozen=True, slots=True)
class Vote:
    """What won. `index` is a candidate that gave the winning label, the one of highest weight (the first of equals);
    None where there was no candidate. `tied` holds all labels that shared the top score, empty without a tie;
    `weights` the score of every label: votes, summed weights or highest weight.
    """

    rule: VoteRule
    index: int | None
    label: str | None
    tied: tuple[str, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)


def vote(rule: VoteRule, candidates: Sequence[Candidate], rng: np.random.Generator) -> Vote:
    """Choose a label. `rng` is drawn from only where labels tie."""
    if rule not in VOTE_RULES:
        raise SpecError(f"vote rule {rule!r} is unknown{did_you_mean(rule, VOTE_RULES)}")
    given = [1.0] * len(candidates) if rule == "majority" else _checked_weights(rule, candidates)
    if not candidates:
        return Vote(rule, None, None)
    members: dict[str, list[int]] = {}
    for index, (label, _) in enumerate(candidates):
        if label is not None:
            members.setdefault(label, []).append(index)
    if not members:
        return Vote(rule, _heaviest(range(len(candidates)), candidates), None)
    # fsum is correctly rounded, so the same in any order.
    score = max if rule == "best" else math.fsum
    weights = {label: score([given[index] for index in members[label]]) for label in sorted(members)}
    top = max(weights.values())
    leaders = tuple(label for label, weight in weights.items() if top - weight <= TIE_TOLERANCE * abs(top))
    label = leaders[int(rng.integers(len(leaders)))] if len(leaders) > 1 else leaders[0]
    return Vote(rule, _heaviest(members[label], candidates), label, leaders if len(leaders) > 1 else (), weights)


def _heaviest(indices: Sequence[int], candidates: Sequence[Candidate]) -> int:
    def weight(index: int) -> float:
        value = candidates[index][1]
        return -math.inf if value is None else value

    return max(indices, key=weight)


def _checked_weights(rule: VoteRule, candidates: Sequence[Candidate]) -> list[float]:
    weights = []
    for index, (label, weight) in enumerate(candidates):
        if weight is None or not math.isfinite(weight) or (rule == "weighted" and weight < 0):
            raise RewardError(
                f"candidate {index} of {len(candidates)} (label {label!r}) {_what_is_wrong(rule, weight)}"
            )
        weights.append(weight)
    return weights


def _what_is_wrong(rule: VoteRule, weight: float | None) -> str:
    if weight is None:
        return f"has no weight, and the {rule!r} vote needs one of each; score it first, or vote by 'majority'"
    if not math.isfinite(weight):
        return f"has weight {weight}; a weight must be a finite number"
    return (
        f"has weight {weight}; the 'weighted' vote adds weights, so that a negative one would make an answer lose by "
        "being found more often; map rewards to [0, 1] first, or vote by 'best'"
    )
