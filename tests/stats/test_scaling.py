"""Fits recover what made the data, pass through what was measured, and say how unsure they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData
from isoflop.stats.curves import Pool, pass_at_k
from isoflop.stats.scaling import (
    BetaBinomial,
    fit_beta_binomial,
    fit_saturating,
    forecast_accuracy,
    forecast_pass_at_k,
)


def arms_on(curve, flops, problems=400, seed=0):
    """Arms whose true accuracy at each cost is `curve(flops)`."""
    rng = np.random.default_rng(seed)
    names = [f"p{i}" for i in range(problems)]
    luck = rng.random((problems, 1))  # shared: a hard problem is hard for every arm
    return [ArmData(f"arm{c}", names, luck < curve(c), np.full((problems, 1), c)) for c in flops]


def test_pass_at_integrates_over_the_beta():
    fit = BetaBinomial(0.7, 2.5)
    for k in (1, 5, 40):
        assert fit.pass_at(k) == pytest.approx(1 - betabinom.pmf(0, k, 0.7, 2.5))


@given(st.floats(0.2, 5), st.floats(0.2, 5), st.integers(2, 12))
@settings(deadline=None, max_examples=25)
def test_the_fit_is_the_most_likely(alpha, beta, attempts):
    counts = betabinom.rvs(attempts, alpha, beta, size=300, random_state=np.random.default_rng(0))
    fit = fit_beta_binomial(counts, attempts)
    best = betabinom.logpmf(counts, attempts, fit.alpha, fit.beta).sum()
    for other_alpha, other_beta in [(alpha, beta), (1, 1), (fit.alpha * 1.1, fit.beta), (fit.alpha, fit.beta * 0.9)]:
        assert best >= betabinom.logpmf(counts, attempts, other_alpha, other_beta).sum() - 1e-3


def test_the_forecast_agrees_with_the_pool_and_reaches_beyond_it():
    rng = np.random.default_rng(1)
    chance = rng.beta(0.4, 2.0, size=500)
    counts = rng.binomial(16, chance)
    at_16, at_256 = forecast_pass_at_k(counts, 16, [16, 256], resamples=100)
    pools = [
        Pool(f"p{i}", ("r",) * c + ("w",) * (16 - c), (1,) * c + (0,) * (16 - c), (1,) * 16)
        for i, c in enumerate(counts)
    ]
    assert at_16.value == pytest.approx(pass_at_k(pools).accuracy[15], abs=0.02)
    truth = float(np.mean(1 - (1 - chance) ** 256))
    assert truth in at_256.interval
    assert at_256.value in at_256.interval
    # The mean chance alone would promise nearly everything: hopeless problems are why it does not come.
    assert at_256.value < 0.95 < 1 - (1 - chance.mean()) ** 256


@pytest.mark.parametrize(("count", "expected"), [(0, 0.0), (4, 1.0)])
def test_all_wrong_and_all_right_stay_there(count, expected):
    assert fit_beta_binomial([count] * 30, 4).pass_at(10) == pytest.approx(expected, abs=0.01)


def test_a_saturating_curve_is_recovered():
    problems, flops = 4000, np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]) * 1e12
    arms = arms_on(lambda c: 0.8 - 0.5 * (c / 1e12) ** -0.7, flops, problems)
    fit = fit_saturating(arms)
    assert fit.ceiling == pytest.approx(0.8, abs=0.03)
    assert fit.exponent == pytest.approx(0.7, abs=0.15)
    for one in arms:
        assert fit.accuracy_at(one.mean_flops) == pytest.approx(one.accuracy, abs=0.02)


def test_the_forecast_of_accuracy_covers_the_truth():
    truth = 0.8 - 0.5 * 64**-0.7
    covered = 0
    for study in range(40):
        arms = arms_on(lambda c: 0.8 - 0.5 * c**-0.7, [1.0, 2.0, 4.0, 8.0, 16.0], problems=200, seed=study)
        (forecast,) = forecast_accuracy(arms, [64.0], resamples=80, seed=study)
        assert forecast.at == 64.0
        covered += truth in forecast.interval
    assert covered >= 34


def test_no_accuracy_passes_one_and_falling_arms_fit_flat():
    steep = arms_on(lambda c: 0.3 + 0.2 * np.log2(c), [1.0, 2.0, 4.0, 8.0])
    assert fit_saturating(steep).accuracy_at(1e9) <= 1.0
    falling = fit_saturating(arms_on(lambda c: 0.9 - 0.1 * np.log2(c), [1.0, 2.0, 4.0, 8.0]))
    assert falling.accuracy_at(1.0) == pytest.approx(falling.accuracy_at(8.0))


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(StudyError, match="1 attempt per problem cannot tell how problems differ"):
        fit_beta_binomial([1, 0], 1)
    with pytest.raises(StudyError, match="whole numbers from 0 to 4"):
        fit_beta_binomial([5, 0], 4)
    with pytest.raises(StudyError, match=r"4 or more arms of different mean FLOPs above 0, got 3 arms"):
        fit_saturating(arms_on(lambda c: 0.5, [1.0, 2.0, 4.0]))
