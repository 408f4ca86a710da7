"""Step rewards become one weight; none, or one that is no number, is an error."""

from __future__ import annotations

import math

import pytest

from isoflop.answers.aggregate import AGGREGATES, Aggregate, aggregate
from isoflop.errors import RewardError, SpecError


@pytest.mark.parametrize(("rule", "weight"), [("last", 0.8), ("min", 0.5), ("prod", 0.36), ("mean", 2.2 / 3)])
def test_rules(rule: Aggregate, weight: float) -> None:
    assert aggregate((0.9, 0.5, 0.8), rule) == pytest.approx(weight)


@pytest.mark.parametrize("rule", AGGREGATES)
def test_one_step_is_its_own_weight_and_no_step_is_an_error(rule: Aggregate) -> None:
    assert aggregate([0.3], rule) == 0.3
    with pytest.raises(RewardError, match="an unscored solution has no weight, not weight 0"):
        aggregate([], rule)
    with pytest.raises(RewardError, match=r"must be finite numbers, got \[0.5, nan\]"):
        aggregate([0.5, math.nan], rule)


def test_an_unknown_rule_is_an_error_that_names_the_allowed_ones() -> None:
    with pytest.raises(SpecError, match=r"'product' is unknown.*allowed: last, mean, min, prod"):
        aggregate([0.5], "product")  # type: ignore[arg-type]
