"""Platt fits and calibration error: against known truths, and refusals."""

import json
import warnings

import numpy as np
import pytest

from isoflop.errors import StudyError
from isoflop.stats.calibration import Platt, expected_calibration_error, fit_platt, reliability


def sample(n, slope, intercept, seed=0):
    """Rewards whose truth is a Platt curve."""
    rng = np.random.default_rng(seed)
    rewards = rng.uniform(0.02, 0.98, n)
    truth = Platt(slope, intercept, 0.0, n, "truth").probabilities(rewards)
    return rewards, (rng.random(n) < truth).astype(int), truth


def test_the_fit_finds_the_truth_and_mends_the_calibration():
    rewards, correct, truth = sample(20_000, slope=0.5, intercept=-1.0)
    fit = fit_platt(rewards, correct, source="made here")
    assert (fit.slope, fit.intercept) == pytest.approx((0.5, -1.0), abs=0.06)
    assert np.abs(fit.probabilities(rewards) - truth).max() < 0.02
    raw, mended = (expected_calibration_error(reliability(p, correct)) for p in (rewards, fit.probabilities(rewards)))
    assert raw > 0.15
    assert mended < 0.02


def test_the_standard_error_is_the_spread_of_refits():
    fits = [fit_platt(*sample(200, 1.0, 0.3, seed)[:2], source="") for seed in range(150)]
    rewards = sample(200, 1.0, 0.3, 0)[0]
    spread = np.mean(np.std([fit.probabilities(rewards) for fit in fits], axis=0))
    assert np.mean([fit.standard_error for fit in fits]) == pytest.approx(spread, rel=0.15)


def test_separated_classes_and_rewards_of_0_and_1_have_a_finite_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_platt([0.0] * 15 + [1.0] * 15, [0] * 15 + [1] * 15, source="")
    low, high = fit.probabilities([0.0, 1.0])
    assert 0 < low < 0.1
    assert 0.9 < high < 1
    assert 0 < fit.standard_error < 0.2


def test_a_fit_is_written_and_read(tmp_path):
    fit = Platt(1.5, -0.25, 0.03, 400, "dev split")
    fit.save(tmp_path / "fit.json")
    assert Platt.load(tmp_path / "fit.json") == fit
    assert json.loads((tmp_path / "fit.json").read_text())["n"] == 400


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no JSON"),
        ('{"slope": 1}', "must hold slope, intercept, standard_error, n, source"),
        ('{"slope": NaN, "intercept": 0, "standard_error": 0, "n": 9, "source": ""}', "must be numbers"),
        ('{"slope": 1, "intercept": 0, "standard_error": -1, "n": 9, "source": ""}', "is below 0"),
    ],
)
def test_a_file_that_is_no_fit_is_refused(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "fit.json").write_text(text)
    with pytest.raises(StudyError, match=reason):
        Platt.load(tmp_path / "fit.json")


@pytest.mark.parametrize(
    ("rewards", "correct", "reason"),
    [
        ([0.5, 0.6], [1, 0], "needs at least 20"),
        (np.linspace(0.1, 0.9, 30), [1] * 30, "30 are right and 0 wrong"),
        ([0.5] * 30, [0, 1] * 15, "no slope to fit"),
        ([1.5, *[0.5] * 29], [0, 1] * 15, r"1 of 30 numbers are not in \[0, 1\], such as 1.5"),
        ([float("nan"), *[0.5] * 29], [0, 1] * 15, "such as nan"),
        ([0.5] * 30, [0, 2] * 15, "an outcome is 1"),
        ([0.5] * 30, [0, 1], "one outcome for each"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(rewards, correct, reason):
    with pytest.raises(StudyError, match=reason):
        fit_platt(rewards, correct, source="")


def test_reliability_by_hand():
    predicted, correct = [0.1, 0.1, 0.2, 0.6, 0.7, 0.9], [0, 0, 1, 1, 0, 1]
    halves = reliability(predicted, correct, bins=2, by="width")
    assert [(row.low, row.high, row.n, row.observed) for row in halves] == [(0, 0.5, 3, 1 / 3), (0.5, 1, 3, 2 / 3)]
    assert expected_calibration_error(halves) == pytest.approx((abs(0.4 / 3 - 1 / 3) + abs(2.2 / 3 - 2 / 3)) / 2)
    assert [row.n for row in reliability(predicted, correct, bins=3)] == [2, 2, 2]
    assert [row.n for row in reliability([0.5] * 4, [1, 0, 1, 1], bins=3)] == [4]
    with pytest.raises(StudyError, match="at least 1"):
        reliability(predicted, correct, bins=0)
