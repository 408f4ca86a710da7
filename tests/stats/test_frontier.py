"""Equal-FLOPs comparison: the hull against all pairs of arms, no extrapolation, no flattery, coverage measured."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData
from isoflop.stats.frontier import (
    accuracy_at_budget,
    difference_at_budget,
    flops_at_accuracy,
    mixture_hull,
    pareto_frontier,
)

QUICK = {"resamples": 60}


def arm(name, correct, flops):
    table = np.asarray(correct, dtype=float).reshape(len(correct), -1)
    return ArmData(name, [f"p{i}" for i in range(len(table))], table, np.broadcast_to(flops, table.shape))


def drawn(rng, problems, chances, flops):
    """A family of arms whose true accuracies are `chances`."""
    return [arm(f"arm{i}", rng.random(problems) < c, f) for i, (c, f) in enumerate(zip(chances, flops, strict=True))]


points = st.lists(
    st.tuples(st.integers(1, 50), st.lists(st.integers(0, 1), min_size=10, max_size=10)), min_size=2, max_size=6
)


def best_pair(arms, budget):
    """The naive twin: every mixture of two arms that costs at most the budget."""
    best = -math.inf
    for low in arms:
        for high in arms:
            if low.mean_flops <= budget <= high.mean_flops and low.mean_flops < high.mean_flops:
                share = (budget - low.mean_flops) / (high.mean_flops - low.mean_flops)
                best = max(best, (1 - share) * low.accuracy + share * high.accuracy)
            best = max(best, *(a.accuracy for a in (low, high) if a.mean_flops <= budget), -math.inf)
    return best


@given(points, st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_with_dev_equal_to_test_the_budget_gets_the_best_pair(family, where):
    arms = [arm(f"arm{i}", correct, flops) for i, (flops, correct) in enumerate(family)]
    cheapest, dearest = min(a.mean_flops for a in arms), max(a.mean_flops for a in arms)
    budget = cheapest + where * (dearest - cheapest)
    estimate = accuracy_at_budget(arms, budget, dev=arms, resamples=5)
    assert estimate is not None
    assert estimate.value == pytest.approx(best_pair(arms, budget))


@given(points)
@settings(deadline=None, max_examples=60)
def test_the_hull_is_concave_rising_and_above_every_arm(family):
    arms = [arm(f"arm{i}", correct, flops) for i, (flops, correct) in enumerate(family)]
    hull = mixture_hull(arms)
    flops, accuracy = np.array([a.mean_flops for a in hull]), np.array([a.accuracy for a in hull])
    slopes = np.diff(accuracy) / np.diff(flops)
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    for other in arms:
        assert np.interp(other.mean_flops, flops, accuracy) >= other.accuracy - 1e-12
    assert {a.name for a in hull} <= {a.name for a in pareto_frontier(arms)}


@given(points)
@settings(deadline=None, max_examples=60)
def test_the_pareto_frontier_holds_exactly_what_nothing_beats(family):
    arms = [arm(f"arm{i}", correct, flops) for i, (flops, correct) in enumerate(family)]
    places = {(a.mean_flops, a.accuracy) for a in arms}
    unbeaten = {(f, c) for f, c in places if not any(g <= f and d >= c and (g, d) != (f, c) for g, d in places)}
    assert {(a.mean_flops, a.accuracy) for a in pareto_frontier(arms)} == unbeaten


def test_a_mixture_is_linear_in_mean_flops():
    arms = [arm("cheap", [0, 0, 0, 1], 1.0), arm("dear", [1, 1, 0, 1], 3.0)]
    assert accuracy_at_budget(arms, 2.0, dev=arms, **QUICK).value == pytest.approx(0.5)
    assert flops_at_accuracy(arms, 0.5, dev=arms, **QUICK).value == pytest.approx(2.0)


def test_nothing_is_extrapolated():
    arms = drawn(np.random.default_rng(0), 40, [0.2, 0.6], [1.0, 4.0])
    assert accuracy_at_budget(arms, 0.99, **QUICK) is None
    assert accuracy_at_budget(arms, 4.01, **QUICK) is None
    assert accuracy_at_budget(arms, 1.0, **QUICK).value == pytest.approx(arms[0].accuracy)
    assert accuracy_at_budget(arms, 4.0, **QUICK).value == pytest.approx(arms[1].accuracy)
    assert flops_at_accuracy(arms, arms[1].accuracy + 0.01, **QUICK) is None
    assert flops_at_accuracy(arms, arms[0].accuracy - 0.01, **QUICK) is None
    cheapest = flops_at_accuracy(arms, arms[0].accuracy, **QUICK)
    assert (cheapest.value, cheapest.interval.low) == (1.0, 1.0), "no resample costs less than its cheapest arm"
    wider = drawn(np.random.default_rng(1), 40, [0.2, 0.6], [5.0, 9.0])
    assert difference_at_budget(arms, wider, 3.0, **QUICK) is None


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_each_arms_own_place_is_inside_the_range(seed):
    rng = np.random.default_rng(seed)
    names = [f"p{i}" for i in range(30)]
    costs = [rng.random((30, 3)) * scale for scale in (1e12, 3e12)]
    cheap, dear = (ArmData(f"arm{i}", names, rng.random((30, 3)) ** (2 - i), cost) for i, cost in enumerate(costs))
    for one in (cheap, dear):
        assert accuracy_at_budget([cheap, dear], one.mean_flops, resamples=1).value == pytest.approx(one.accuracy)
        assert flops_at_accuracy([cheap, dear], one.accuracy, resamples=1).value == pytest.approx(one.mean_flops)


def test_a_dearer_and_worse_arm_is_never_paid_for():
    arms = drawn(np.random.default_rng(0), 200, [0.2, 0.8, 0.3], [1.0, 2.0, 9.0])
    assert accuracy_at_budget(arms, 8.0, **QUICK).value == pytest.approx(arms[1].accuracy)


def test_flops_and_accuracy_are_inverse():
    arms = drawn(np.random.default_rng(3), 300, [0.2, 0.5, 0.6, 0.65], [1.0, 2.0, 4.0, 8.0])
    reached = accuracy_at_budget(arms, 3.0, **QUICK)
    back = flops_at_accuracy(arms, reached.value, **QUICK)
    assert back.value == pytest.approx(3.0)
    assert back.interval.low <= 3.0 <= back.interval.high


def test_choosing_among_equals_does_not_flatter():
    rng = np.random.default_rng(4)
    flattered, crossed = [], []
    for study in range(150):
        arms = drawn(rng, 50, [0.5] * 8, [1.0] * 8)
        flattered.append(max(a.accuracy for a in arms))
        crossed.append(accuracy_at_budget(arms, 1.0, resamples=1, seed=study).value)
    assert np.mean(flattered) > 0.57
    assert np.mean(crossed) == pytest.approx(0.5, abs=0.02)


def test_dev_chooses_and_test_judges():
    dev = [arm("a", [1, 1, 1, 1], 1.0), arm("b", [0, 0, 0, 0], 1.0)]
    test = [arm("a", [1, 0, 0, 0], 1.0), arm("b", [1, 1, 1, 1], 1.0)]
    assert accuracy_at_budget(test, 1.0, dev=dev, **QUICK).value == 0.25


def test_the_interval_covers_the_best_mixture_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for study in range(120):
        arms = drawn(rng, 150, [0.3, 0.5, 0.4], [1.0, 3.0, 3.0])
        covered += 0.4 in accuracy_at_budget(arms, 2.0, resamples=150, seed=study).interval
    assert 0.88 <= covered / 120 <= 0.99


def test_a_family_does_not_differ_from_itself():
    arms = drawn(np.random.default_rng(0), 60, [0.3, 0.6], [1.0, 2.0])
    same = difference_at_budget(arms, arms, 1.5, **QUICK)
    assert (same.value, same.p) == (0.0, 1.0)


def test_the_difference_at_equal_flops_keeps_its_level_and_finds_what_is_there():
    rng = np.random.default_rng(6)
    false_alarms = found = 0
    for study in range(100):
        a = drawn(rng, 120, [0.3, 0.6], [1.0, 3.0])
        level = drawn(rng, 120, [0.3, 0.6], [1.0, 3.0])
        worse = drawn(rng, 120, [0.1, 0.3], [1.0, 3.0])
        false_alarms += difference_at_budget(a, level, 2.0, resamples=150, seed=study).p <= 0.05
        found += difference_at_budget(a, worse, 2.0, resamples=150, seed=study).p <= 0.05
    assert false_alarms <= 12
    assert found >= 90


def test_without_a_choice_the_p_value_is_the_paired_tests():
    a, b = drawn(np.random.default_rng(9), 200, [0.50, 0.42], [1.0, 1.0])
    reference = ttest_rel(a.accuracy_by_problem, b.accuracy_by_problem).pvalue
    assert 0.05 < reference < 0.5
    assert difference_at_budget([a], [b], 1.0, resamples=4000).p == pytest.approx(reference, abs=0.03)


def test_an_unreached_target_shows_as_an_infinite_end():
    arms = drawn(np.random.default_rng(7), 40, [0.2, 0.6], [1.0, 4.0])
    at_the_top = flops_at_accuracy(arms, arms[1].accuracy, **QUICK)
    assert at_the_top.value == pytest.approx(4.0)
    assert math.isinf(at_the_top.interval.high)


def test_wrong_choices_are_refused():
    arms = drawn(np.random.default_rng(0), 4, [0.2, 0.6], [1.0, 4.0])
    with pytest.raises(StudyError, match=r"5 folds of 4 problems; cross-fitting needs 2 to 4 folds"):
        accuracy_at_budget(arms, 2.0)
    with pytest.raises(StudyError, match=r"dev holds the arms \['arm1', 'arm0'\], the family \['arm0', 'arm1'\]"):
        accuracy_at_budget(arms, 2.0, dev=arms[::-1])
    with pytest.raises(StudyError, match="do not hold the same problems"):
        accuracy_at_budget([arms[0], arm("other", [1, 0], 1.0)], 2.0)
