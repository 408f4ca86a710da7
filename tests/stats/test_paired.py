"""Paired tests against statsmodels, scipy and the enumeration of every sign pattern; their level measured."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test as scipy_permutation_test
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData
from isoflop.stats.paired import (
    compare_pair,
    compare_pairs,
    holm,
    mcnemar,
    minimum_detectable_difference,
    needed_problems,
    permutation_test,
)

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def arm(name, correct):
    table = np.asarray(correct, dtype=float)
    return ArmData(name, [f"p{i}" for i in range(len(table))], table, np.ones_like(table))


def every_sign_pattern(differences):
    """The naive twin: all 2^n patterns."""
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=len(differences))]
    return float(np.mean(np.array(sums) >= abs(np.sum(differences)) - 1e-9))


@given(st.integers(0, 40), st.integers(0, 40))
@settings(deadline=None, max_examples=40)
def test_mcnemar_is_statsmodels_exact_test(a_only, b_only):
    reference = statsmodels_mcnemar([[0, a_only], [b_only, 0]], exact=True).pvalue if a_only + b_only else 1.0
    assert mcnemar(a_only, b_only) == pytest.approx(min(1.0, reference))
    assert mcnemar(a_only, b_only) == pytest.approx(mcnemar(b_only, a_only))


def test_the_published_rows():
    assert mcnemar(4, 32) == pytest.approx(2e-6, rel=0.1)  # baseline against quiet-star
    assert mcnemar(37, 8) == pytest.approx(1.5e-5, rel=0.1)  # quiet-star against quiet-star+rebase


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=10), st.sampled_from([1, 2, 4, 7]))
@settings(deadline=None, max_examples=60)
def test_the_permutation_test_counts_every_sign_pattern(steps, attempts):
    differences = np.array(steps) / attempts
    assert permutation_test(differences) == pytest.approx(every_sign_pattern(differences))


def test_one_attempt_makes_the_permutation_test_mcnemar():
    for a_only, b_only in [(0, 5), (3, 9), (30, 41), (200, 260)]:
        differences = [1] * a_only + [-1] * b_only + [0] * 50
        assert permutation_test(differences) == pytest.approx(mcnemar(a_only, b_only))


def test_many_problems_with_many_attempts_stay_exact():
    rng = np.random.default_rng(3)
    differences = rng.integers(-8, 10, size=400) / 8
    sampled = scipy_permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=4000, rng=np.random.default_rng(0)
    )
    assert permutation_test(differences, seed=1) == permutation_test(differences, seed=2)
    assert permutation_test(differences) == pytest.approx(sampled.pvalue, abs=0.02)


def test_differences_of_any_size_are_sampled_near_the_truth_and_never_zero():
    differences = np.random.default_rng(0).normal(0.2, 0.5, size=12)
    assert permutation_test(differences) == pytest.approx(every_sign_pattern(differences), abs=0.01)
    certain = np.random.default_rng(1).uniform(0.5, 1, size=200)
    assert permutation_test(certain, sign_flips=999) == 1 / 1000


def test_the_permutation_test_keeps_its_level():
    rng = np.random.default_rng(11)
    rejected = 0
    for _ in range(400):
        chance = rng.beta(1, 1, size=(50, 1))
        a, b = (rng.random((2, 50, 3)) < chance).mean(axis=2)
        rejected += permutation_test(a - b) <= 0.05
    assert rejected / 400 <= 0.075


@given(p_values)
@settings(deadline=None, max_examples=50)
def test_holm_follows_its_definition_and_never_lowers_a_p_value(raw):
    order = np.argsort(raw, kind="stable")
    by_hand = np.minimum(np.maximum.accumulate(np.array(raw)[order] * np.arange(len(raw), 0, -1)), 1.0)
    corrected = holm(raw)
    assert np.array(corrected)[order] == pytest.approx(by_hand)
    assert all(after >= before for after, before in zip(corrected, raw, strict=True))


def test_an_empty_family_has_no_p_values():
    assert holm([]) == ()


def test_identical_arms_do_not_differ():
    once, often = arm("a", [[1], [0], [1]]), arm("a", [[1, 0], [0, 0], [1, 1]])
    assert compare_pair(once, once.named("b")).p == 1
    assert compare_pair(often, often.named("b")).p == 1


def test_the_test_follows_the_attempts():
    single = compare_pair(arm("a", [[1], [1], [0]]), arm("b", [[0], [1], [0]]))
    assert (single.method, single.a_only, single.b_only) == ("exact McNemar", 1, 0)
    assert single.difference == pytest.approx(1 / 3)
    several = compare_pair(arm("a", [[1, 1], [1, 0], [0, 0]]), arm("b", [[0], [1], [0]]))
    assert (several.method, several.a_only, several.b_only) == ("permutation of per-problem means", 1, 1)
    assert several.p == pytest.approx(every_sign_pattern([1, -0.5]))


def test_only_the_declared_family_is_corrected():
    rng = np.random.default_rng(5)
    arms = [arm(name, rng.random((60, 1)) < chance) for name, chance in [("a", 0.3), ("b", 0.6), ("c", 0.6)]]
    tests = compare_pairs(arms, family=[("b", "a"), ("c", "a")])
    assert [(test.a, test.b, test.exploratory) for test in tests] == [
        ("b", "a", False),
        ("c", "a", False),
        ("b", "c", True),
    ]
    assert [test.p_holm for test in tests[:2]] == pytest.approx(holm([test.p for test in tests[:2]]))
    assert len(compare_pairs(arms, family=[("b", "a")], exploratory=False)) == 1


def test_a_family_names_each_pair_once():
    arms = [arm("a", [[1]]), arm("b", [[0]])]
    with pytest.raises(StudyError, match="names a pair twice or an arm with itself"):
        compare_pairs(arms, family=[("a", "b"), ("b", "a")])
    with pytest.raises(StudyError, match="no arm is named 'z'; allowed: a, b"):
        compare_pairs(arms, family=[("a", "z")])


def test_power_of_the_usual_designs():
    assert needed_problems(0.05, 0.15) == 471
    assert needed_problems(0.03, 0.12) == 1047
    assert minimum_detectable_difference(128, 0.2) == pytest.approx(0.11, abs=0.001)


@given(st.floats(0.01, 0.2), st.floats(0.2, 1))
@settings(deadline=None, max_examples=30)
def test_the_two_power_questions_are_inverse(difference, discordant):
    problems = needed_problems(difference, discordant)
    assert minimum_detectable_difference(problems, discordant) <= difference + 1e-12
    assert problems == 1 or minimum_detectable_difference(problems - 1, discordant) >= difference - 1e-12


def test_the_promised_power_is_reached():
    rng = np.random.default_rng(2)
    problems = needed_problems(0.10, 0.30)
    a_only, b_only, _ = rng.multinomial(problems, [0.20, 0.10, 0.70], size=600).T
    found = np.mean([mcnemar(a, b) <= 0.05 for a, b in zip(a_only, b_only, strict=True)])
    assert 0.72 <= found <= 0.85  # the exact test is a little conservative


def test_impossible_designs_are_refused():
    with pytest.raises(StudyError, match=r"a difference of 0\.3 with a discordant share of 0\.2 is impossible"):
        needed_problems(0.3, 0.2)
    with pytest.raises(StudyError, match="discordant share of 0"):
        minimum_detectable_difference(100, 0)
    with pytest.raises(StudyError, match="counts of problems cannot be negative"):
        mcnemar(-1, 2)
