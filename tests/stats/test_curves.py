"""Curves over k against the enumeration of every subset, with ties shared over every order of the tied."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.errors import StudyError
from isoflop.stats.curves import Pool, best_at_k, guessing_at_k, guessing_from_answer_space, pass_at_k
from isoflop.stats.votes import majority_at_k, weighted_at_k

RIGHT = "7"


def pool(labels, weights=None, problem="p0"):
    correct = tuple(int(label == RIGHT) for label in labels)
    return Pool(problem, tuple(labels), correct, tuple(weights or [1.0] * len(labels)))


def pools(max_size):
    sample = st.tuples(st.sampled_from([RIGHT, "1", "2", None]), st.sampled_from([0.0, 0.25, 0.5, 0.5, 1.0, 0.3]))
    return st.lists(sample, min_size=1, max_size=max_size).map(
        lambda samples: pool([label for label, _ in samples], [weight for _, weight in samples])
    )


def over_subsets(one_pool, decide):
    """The naive twin: the mean of `decide` over every subset of every size."""
    samples = list(zip(one_pool.labels, one_pool.correct, one_pool.weights, strict=True))
    return [np.mean([decide(s) for s in combinations(samples, k)]) for k in range(1, len(samples) + 1)]


def vote(subset, weigh):
    sums = {}
    for label, _, weight in subset:
        if label is not None:
            sums[label] = sums.get(label, 0.0) + weigh(weight)
    leaders = [label for label, total in sums.items() if total >= max(sums.values()) - 1e-9]
    return leaders.count(RIGHT) / len(leaders) if leaders else 0.0


def best(subset):
    answered = [(weight, correct) for label, correct, weight in subset if label is not None]
    top = [correct for weight, correct in answered if weight == max(answered)[0]]
    return np.mean(top) if top else 0.0


@given(pools(7))
@settings(deadline=None, max_examples=80)
def test_every_curve_is_the_mean_over_all_subsets(one_pool):
    oracles = {
        pass_at_k: lambda subset: float(any(correct for _, correct, _ in subset)),
        best_at_k: best,
        majority_at_k: lambda subset: vote(subset, lambda weight: 1.0),
        weighted_at_k: lambda subset: vote(subset, lambda weight: weight),
    }
    for curve_of, decide in oracles.items():
        curve = curve_of([one_pool])
        assert curve.accuracy == pytest.approx(over_subsets(one_pool, decide), abs=1e-9), curve.measure
        assert not curve.monte_carlo_error.any()


@given(st.lists(pools(12), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_laws_of_the_curves(several):
    share_right = np.mean([np.mean(one.correct) for one in several])
    passing = pass_at_k(several)
    assert (np.diff(passing.accuracy) >= -1e-12).all()
    for curve in (passing, best_at_k(several), majority_at_k(several), weighted_at_k(several)):
        assert curve.accuracy[0] == pytest.approx(share_right), "one sample decides alone"
        assert (curve.by_problem <= passing.by_problem + 1e-9).all(), "no choice finds what no sample holds"
        assert len(curve.k) == min(one.size for one in several)


def test_majority_of_a_large_pool_is_exact_and_fast():
    rng = np.random.default_rng(0)
    labels = [RIGHT] * 22 + ["1"] * 21 + ["2"] * 9 + [None] * 5 + [f"x{i}" for i in range(7)]
    curve = majority_at_k([pool(labels)])
    subsets = [[labels[i] for i in rng.choice(len(labels), 9, replace=False)] for _ in range(4000)]
    sampled = [vote([(label, None, 1.0) for label in subset], lambda weight: 1.0) for subset in subsets]
    assert curve.accuracy[8] == pytest.approx(np.mean(sampled), abs=4 * np.std(sampled) / np.sqrt(4000))
    assert curve.accuracy[-1] == 1.0


def test_sampled_weighted_vote_states_its_error():
    rng = np.random.default_rng(1)
    labels = rng.choice([RIGHT, "1", "2"], size=16, p=[0.4, 0.4, 0.2]).tolist()
    several = [pool(labels, rng.random(16).tolist(), problem=f"p{i}") for i in range(3)]
    rough = weighted_at_k(several, subsets=300, seed=0)
    fine = weighted_at_k(several, subsets=20_000, seed=1)
    error = np.hypot(rough.monte_carlo_error, fine.monte_carlo_error)
    assert (np.abs(rough.accuracy - fine.accuracy) <= 4.5 * error + 1e-9).all()
    assert 0 < fine.monte_carlo_error[4] < rough.monte_carlo_error[4] < 0.03
    assert rough.monte_carlo_error[-1] < 1e-8, "all samples are one subset"
    assert (rough.accuracy == weighted_at_k(several, subsets=300, seed=0).accuracy).all()


def test_equal_weights_make_the_weighted_vote_a_majority():
    labels = [RIGHT, RIGHT, RIGHT, "1", "1", "2", None, None]
    assert weighted_at_k([pool(labels, [0.3] * 8)]).accuracy == pytest.approx(majority_at_k([pool(labels)]).accuracy)


def test_a_pool_without_answers_is_wrong_for_every_vote():
    silent = pool([None, None, None])
    for curve_of in (pass_at_k, best_at_k, majority_at_k, weighted_at_k):
        assert not curve_of([silent]).accuracy.any()
    assert not weighted_at_k([pool([None] * 14)]).accuracy.any()


def test_chance_leaves_skill_out():
    # Everyone solves their own problem; no answer fits another's: guessing reaches nothing.
    skilled = [
        Pool("p0", ("a", "a"), (1, 1), (1, 1)),
        Pool("p1", ("b", "b"), (1, 1), (1, 1)),
    ]
    assert not guessing_at_k(skilled, gold=["a", "b"]).accuracy.any()
    # Ten samples elsewhere, half of them right here: 1 - C(5, k) / C(10, k).
    others = Pool("p1", ("a",) * 5 + ("b",) * 5, (0,) * 5 + (1,) * 5, (1,) * 10)
    curve = guessing_at_k([Pool("p0", ("z", "z"), (0, 0), (1, 1)), others], gold=["a", "b"])
    assert curve.by_problem[0] == pytest.approx([1 / 2, 1 - (5 * 4) / (10 * 9)])


def test_a_small_answer_space_makes_luck():
    assert guessing_from_answer_space(10, 16) == pytest.approx(0.81, abs=0.01)
    assert guessing_from_answer_space(1000, 16) < 0.02


def test_intervals_at_k():
    rng = np.random.default_rng(0)
    several = [pool(rng.choice([RIGHT, "1"], size=4).tolist(), problem=f"p{i}") for i in range(40)]
    curve = pass_at_k(several)
    assert curve.accuracy[1] in curve.interval(2, resamples=500)
    with pytest.raises(StudyError, match=r"pass@k at k=5: the smallest pool holds 4; allowed: 1 to 4"):
        curve.interval(5)


@pytest.mark.parametrize(
    ("labels", "correct", "weights", "message"),
    [
        ((), (), (), "0 labels, 0 correct and 0 weights"),
        (("a",), (1, 0), (1,), "1 labels, 2 correct and 1 weights"),
        (("a", "a"), (1, 0), (1, 1), "label 'a' is marked correct=0, elsewhere 1; answers that vote together"),
        ((None,), (1,), (1,), r"no answer \(None\) is wrong"),
        (("a",), (1,), (float("nan"),), "negative or not finite; unscored samples cannot be weighed"),
        (("a",), (1,), (-0.5,), "negative or not finite"),
    ],
)
def test_wrong_pools_are_refused(labels, correct, weights, message):
    with pytest.raises(StudyError, match=message):
        Pool("p0", labels, correct, weights)


def test_unscored_samples_have_a_majority_but_no_weighted_choice():
    unscored = Pool("p0", (RIGHT, RIGHT, "1"), (1, 1, 0))
    assert majority_at_k([unscored]).accuracy[-1] == 1.0
    for curve_of in (best_at_k, weighted_at_k):
        with pytest.raises(
            StudyError, match="pool of problem 'p0' has no weights: best and weighted choices need a reward"
        ):
            curve_of([unscored])


def test_empty_and_oversized_requests_are_refused():
    with pytest.raises(StudyError, match="maj@k of no pools"):
        majority_at_k([])
    with pytest.raises(StudyError, match="holds 513 samples; allowed: at most 512"):
        majority_at_k([pool([RIGHT] * 513)])
    with pytest.raises(StudyError, match="1 right answers for 2 pools"):
        guessing_at_k([pool([RIGHT]), pool([RIGHT], problem="p1")], gold=["a"])
