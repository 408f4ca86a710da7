"""REBASE's allocation: the width is spent exactly, in proportion to softmax of reward, in input order."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Problem, Stop
from isoflop.engines.scripted import Scripted
from isoflop.errors import RewardError, SpecError, StudyError
from isoflop.rewards.base import RewardContext
from isoflop.rewards.logprob import LogProb
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.search.rebase import balance, balance_calibrated
from isoflop.stats.calibration import Platt

RULES = ["round", "ceil", "systematic", "multinomial"]
rewards = st.lists(st.floats(0, 1), min_size=1, max_size=40)
widths = st.integers(0, 256)
temperatures = st.floats(0.02, 5)
fits = st.builds(Platt, st.floats(0.1, 4), st.floats(-3, 3), st.floats(0, 0.3), st.just(100), st.just("made here"))


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


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=40)
@given(values=rewards, width=widths, fit=fits, seed=st.none() | st.integers(0, 99))
def test_calibrated_widths_are_spent_exactly(rule, values, width, fit, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    spent = balance_calibrated(values, width, fit, rule, rng)
    assert (sum(spent), len(spent)) == (width, len(values))
    assert min(spent) >= 0


@settings(max_examples=40)
@given(values=rewards, width=widths, fit=fits)
def test_a_likelier_prefix_never_gets_less(values, width, fit):
    chances = fit.probabilities(values)
    for rule in ("round", "ceil"):
        spent = balance_calibrated(values, width, fit, rule)
        for i, j in zip(range(len(values)), range(1, len(values)), strict=False):
            if chances[i] > chances[j] + 1e-6:
                assert spent[i] >= spent[j]


@pytest.mark.parametrize("rule", ["round", "ceil", "systematic"])
@settings(max_examples=40)
@given(values=rewards, width=widths, fit=fits)
def test_what_the_fit_cannot_tell_apart_shares_evenly(rule, values, width, fit):
    """Equal rewards, and rewards whose p-hat lie within the standard error."""
    chances = fit.probabilities(values)
    vague = replace(fit, standard_error=float(chances.max() - chances.min()) + 1e-9)
    for told in (
        balance_calibrated(values[:1] * len(values), width, fit, rule),
        balance_calibrated(values, width, vague, rule),
    ):
        assert max(told) - min(told) <= 1


def test_calibrated_shares_are_proportional_to_the_chance_of_being_right():
    identity = Platt(1.0, 0.0, 0.05, 400, "p-hat is the reward itself")
    assert balance_calibrated([0.6, 0.3, 0.1], 10, identity) == [6, 3, 1]
    assert balance_calibrated([0.6, 0.3, 0.1], 10, identity, "ceil") == [6, 3, 1]
    # 0.04 apart is below 0.05: even, although a softmax would not be.
    assert balance_calibrated([0.5, 0.54], 10, identity) == [5, 5]
    drawn = [balance_calibrated([0.6, 0.2], 4, identity, "multinomial", np.random.default_rng(i)) for i in range(2000)]
    assert np.mean(drawn, axis=0) == pytest.approx([3, 1], abs=0.1)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rebase(8, score='calibrated')", r"needs calibration='FILE.json'"),
        ("rebase(8, calibration='fit.json')", r"calibration='fit.json'\) is given in vain without score='calibrated'"),
        ("rebase(8, 0.2, score='calibrated', calibration='a')", r"temperature=0.2\) is given in vain"),
        ("rebase(8, score='platt')", r"'softmax' \| 'logit' \| 'calibrated'"),
    ],
)
def test_a_calibration_is_given_exactly_where_it_is_used(spec, message):
    with pytest.raises(SpecError, match=message):
        specs.parse("strategy", spec)


def searched(strategy):
    reward, prompt = LogProb().open(RewardContext()), Prompt(text="How much is 3?\n")
    parsed = specs.parse("strategy", strategy)
    job = Job("p", Problem("p", "q", "3"), prompt, parsed, SamplingParams(), 0, MathGrader(), reward)
    return next(iter(drive([[job]], Scripted(steps=3).open())))


@pytest.mark.parametrize("rule", RULES)
def test_a_search_reads_the_fit_that_was_saved(tmp_path, rule):
    Platt(2.0, -1.0, 0.01, 400, "dev split").save(tmp_path / "fit.json")
    strategy = f"rebase(width=6, balance={rule!r}, score='calibrated', calibration={str(tmp_path / 'fit.json')!r})"
    assert str(specs.parse("strategy", strategy)) == str(
        specs.parse("strategy", str(specs.parse("strategy", strategy)))
    )
    attempt = searched(strategy)
    assert (attempt.stop, len(attempt.candidates)) == (Stop.FINISHED, 6)


def test_a_fit_that_is_absent_or_damaged_is_an_error_when_the_search_starts(tmp_path):
    with pytest.raises(StudyError, match=r"fit.json' cannot be read: No such file"):
        searched(f"rebase(width=6, score='calibrated', calibration={str(tmp_path / 'fit.json')!r})")
    (tmp_path / "fit.json").write_text("{")
    with pytest.raises(StudyError, match="is no JSON"):
        searched(f"rebase(width=6, score='calibrated', calibration={str(tmp_path / 'fit.json')!r})")
