"""REBASE's allocation: the width is spent exactly, in proportion to softmax of reward, in input order."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.errors import RewardError, SpecError
from isoflop.search.rebase import balance

RULES = ["round", "ceil", "systematic", "multinomial"]
rewards = st.lists(st.floats(0, 1), min_size=1, max_size=40)
widths = st.integers(0, 256)
temperatures = st.floats(0.02, 5)


def shares(values, width, temperature):
    weights = [math.exp((value - max(values)) / temperature) for value in values]
    return [width * weight / math.fsum(weights) for weight in weights]


@pytest.mark.parametrize("rule", RULES)
@given(values=rewards, width=widths, temperature=temperatures, seed=st.none() | st.integers(0, 99))
def test_the_width_is_spent_exactly(rule, values, width, temperature, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    spent = balance(values, width, temperature, rule, rng)
    assert sum(spent) == width
    assert len(spent) == len(values)
    assert min(spent) >= 0


@pytest.mark.parametrize("rule", ["round", "systematic"])
@given(values=rewards, width=widths, temperature=temperatures)
def test_nobody_is_more_than_one_away_from_its_share(rule, values, width, temperature):
    spent = balance(values, width, temperature, rule)
    for got, share in zip(spent, shares(values, width, temperature), strict=True):
        assert abs(got - share) < 1 + 1e-6


@given(values=rewards, width=widths, temperature=temperatures)
def test_a_higher_reward_never_gets_less(values, width, temperature):
    for rule in ("round", "ceil"):
        spent = balance(values, width, temperature, rule)
        for i, j in zip(range(len(values)), range(1, len(values)), strict=False):
            if values[i] > values[j] + 1e-6:
                assert spent[i] >= spent[j]


@given(values=st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=12), width=st.integers(0, 64))
def test_the_released_rule_read_off_its_description(values, width):
    """Highest first: ceil(what is left of the width * weight / what is left of the weights), in exact arithmetic."""
    weights = [Fraction(math.exp((value - max(values)) / 0.2)).limit_denominator(10**12) for value in values]
    expected, left, mass = [0] * len(values), width, sum(weights)
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        expected[i] = min(left, math.ceil(left * weights[i] / mass - Fraction(1, 10**9)))
        left, mass = left - expected[i], mass - weights[i]
    assert balance(values, width, 0.2, "ceil") == expected


def test_worked_examples():
    # Shares 4.59, 0.62, 2.79 round to 9: the smallest of the remainders that were rounded up gives one back.
    assert balance([0.9, 0.5, 0.8], 8, 0.2, "round") == [4, 1, 3]
    # Highest first: ceil(8 * 1/1.742) = 5, ceil(3 * 0.607/0.742) = 3, and nothing is left for the tail.
    assert balance([0.9, 0.5, 0.8], 8, 0.2, "ceil") == [5, 0, 3]
    assert balance([0.5, 0.5, 0.5], 4, 0.1, "ceil") == [2, 1, 1]
    assert balance([0.5, 0.5, 0.5], 4, 0.1, "round") == [2, 1, 1]
    assert balance([0.1, 0.9], 3, 1e-2, "ceil") == [0, 3]


def test_ties_are_in_input_order_only_without_a_generator():
    winners = {tuple(balance([0.5] * 4, 1, 0.1, "round", np.random.default_rng(seed))) for seed in range(40)}
    assert len(winners) == 4
    assert balance([0.5] * 4, 1, 0.1, "round") == [1, 0, 0, 0]


def test_drawn_rules_have_the_right_mean():
    values, width = [0.2, 0.5, 0.6], 7
    rng = np.random.default_rng(0)
    for rule in ("systematic", "multinomial"):
        mean = np.mean([balance(values, width, 0.2, rule, rng) for _ in range(4000)], axis=0)
        assert mean == pytest.approx(shares(values, width, 0.2), abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.5], 4, 0.0, "round"), SpecError, "temperature=0.0 must be above 0"),
        (([0.5], -1, 0.1, "round"), SpecError, "width=-1 must be 0 or more"),
        (([], 4, 0.1, "round"), SpecError, "nobody to share a width of 4"),
        (([0.5], 4, 0.1, "floor"), SpecError, "'floor' is unknown; allowed: ceil, multinomial, round, systematic"),
        (([0.5, float("nan")], 4, 0.1, "round"), RewardError, "nan is not a finite number"),
    ],
)
def test_what_means_nothing_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        balance(*arguments)
