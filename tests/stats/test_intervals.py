"""Intervals: scipy as the oracle of Wilson, coverage measured, clusters respected."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData
from isoflop.stats.intervals import accuracy_interval, bootstrap_mean, resample_counts, wilson


def arm(correct):
    table = np.asarray(correct, dtype=float)
    return ArmData("arm", [f"p{i}" for i in range(len(table))], table, np.ones_like(table))


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99])
)
@settings(deadline=None, max_examples=40)
def test_wilson_is_scipys_and_holds_the_estimate(counts, level):
    correct, problems = counts
    interval = wilson(correct, problems, level)
    reference = binomtest(correct, problems).proportion_ci(level, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert correct / problems in interval


def test_the_published_baseline_has_its_published_interval():
    interval = wilson(13, 128)
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (6.0, 16.6)


def test_one_attempt_is_wilson_and_several_are_resampled_by_problem():
    assert accuracy_interval(arm([[1], [0], [0]])).method == "wilson"
    assert accuracy_interval(arm([[1, 0], [0, 0], [1, 1]])).method == "bootstrap by problem"
    assert accuracy_interval(arm([[0.5], [0], [1]])).method == "bootstrap by problem"  # a shared tie is no 0/1 trial


def test_repeating_every_attempt_adds_no_certainty():
    rng = np.random.default_rng(0)
    once = rng.integers(0, 2, size=(60, 1))
    repeated = accuracy_interval(arm(np.repeat(once, 16, axis=1)))
    single = accuracy_interval(arm(once))
    assert repeated.high - repeated.low == pytest.approx(single.high - single.low, rel=0.1)


def test_all_wrong_still_has_a_width():
    interval = accuracy_interval(arm(np.zeros((20, 4))))
    assert interval.low == 0
    assert interval.high == pytest.approx(wilson(0, 20).high)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_the_bootstrap_holds_the_mean_stays_in_range_and_repeats(values, seed):
    interval = bootstrap_mean(values, resamples=500, seed=seed)
    assert 0 <= interval.low <= interval.high <= 1
    assert interval == bootstrap_mean(values, resamples=500, seed=seed)
    assert interval.low - 1e-9 <= np.mean(values) <= interval.high + 1e-9


def test_resamples_draw_whole_problems_uniformly():
    counts = np.concatenate(list(resample_counts(700, 6000, seed=1)))  # more than one chunk
    assert counts.shape == (6000, 700)
    assert (counts.sum(axis=1) == 700).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(700), abs=0.08)
    assert counts.var() == pytest.approx(1, abs=0.02)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    covered = 0
    for study in range(300):
        chance = rng.beta(1, 2, size=(80, 1))  # problems differ, so attempts within one are correlated
        values = (rng.random((80, 4)) < chance).mean(axis=1)
        covered += 1 / 3 in bootstrap_mean(values, resamples=400, seed=study)
    assert 0.90 <= covered / 300 <= 0.98


@pytest.mark.parametrize("level", [0, 1, 95])
def test_levels_are_shares(level):
    with pytest.raises(StudyError, match=r"must lie between 0 and 1, for example 0\.95"):
        wilson(1, 2, level)


def test_impossible_counts_are_refused():
    with pytest.raises(StudyError, match="5 correct of 4 problems"):
        wilson(5, 4)
    with pytest.raises(StudyError, match="no problems to resample"):
        bootstrap_mean([])
