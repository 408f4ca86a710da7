"""AUC and first-error F1 against definitions written out, and what an interval must do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.errors import StudyError
from isoflop.stats.discrimination import Group, auc, pooled_auc, within_auc
from isoflop.stats.first_error import Judged, best_threshold, first_error_f1

SCORES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # few values: ties are common
SCORED = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=12)


def by_pairs(scored):
    pairs = [(a > b) + 0.5 * (a == b) for a, x in scored for b, y in scored if x and not y]
    return np.mean(pairs) if pairs else None


@given(SCORED)
def test_auc_is_the_share_of_pairs_in_order(scored):
    found = auc([score for score, _ in scored], [right for _, right in scored])
    assert found == (by_pairs(scored) if by_pairs(scored) is None else pytest.approx(by_pairs(scored)))


def groups_of(problems, gap, rng, shift=0.0):
    made = []
    for number in range(problems):
        right = rng.random(6) < 0.5
        scores = rng.random(6) + gap * right + shift * number
        made.append(Group(str(number), tuple(scores), tuple(map(bool, right))))
    return made


def test_within_a_problem_is_not_fooled_by_easy_problems():
    """Scores that only know the problem: pooled they seem to know something, within problems they do not."""
    rng = np.random.default_rng(0)
    easy = [Group(f"e{i}", (0.9,) * 4, (True, True, True, False)) for i in range(20)]
    hard = [Group(f"h{i}", (0.1,) * 4, (True, False, False, False)) for i in range(20)]
    assert pooled_auc(easy + hard).value == pytest.approx(0.75)
    assert within_auc(easy + hard).value == 0.5
    knowing = groups_of(30, 0.5, rng)
    assert 0.5 not in within_auc(knowing).interval
    assert within_auc([Group("p", (0.1, 0.2), (True, True))]) is None
    assert pooled_auc([Group("p", (0.1, 0.2), (True, True))]) is None


def test_the_pooled_interval_draws_whole_problems():
    """Every problem ten times over says no more than once: the interval stays as wide."""
    few = groups_of(25, 0.3, np.random.default_rng(1))
    many = [Group(one.problem, one.scores * 10, one.right * 10) for one in few]
    narrow, wide = pooled_auc(many), pooled_auc(few)
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.interval.high - narrow.interval.low == pytest.approx(wide.interval.high - wide.interval.low)
    assert wide.value in wide.interval


def naive_f1(samples, threshold):
    named = [next((i for i, x in enumerate(s.scores) if x < threshold), -1) == s.first_error for s in samples]
    wrong = np.mean([hit for hit, s in zip(named, samples, strict=True) if s.first_error >= 0])
    right = np.mean([hit for hit, s in zip(named, samples, strict=True) if s.first_error < 0])
    return 2 * wrong * right / (wrong + right) if wrong + right else 0.0


SAMPLES = st.lists(
    st.lists(SCORES, min_size=1, max_size=4).flatmap(
        lambda scores: st.integers(-1, len(scores) - 1).map(lambda at: Judged(tuple(scores), at))
    ),
    min_size=2,
    max_size=12,
).filter(lambda samples: len({sample.first_error < 0 for sample in samples}) == 2)


@settings(max_examples=50)
@given(SAMPLES)
def test_first_error_f1_and_its_best_threshold_are_the_definitions(samples):
    threshold = best_threshold(samples)
    assert first_error_f1(samples, threshold).f1 == pytest.approx(naive_f1(samples, threshold))
    assert naive_f1(samples, threshold) == pytest.approx(
        max(naive_f1(samples, each) for each in np.linspace(-0.05, 1.15, 49))
    )


def test_what_has_no_first_error_measure_is_refused():
    with pytest.raises(StudyError, match="of 2 solutions 0 have an error"):
        first_error_f1([Judged((0.5,), -1), Judged((0.6,), -1)], 0.5)
    with pytest.raises(StudyError, match="1 scored steps has its first error at 1"):
        Judged((0.5,), 1)


def test_scores_that_know_nothing_have_an_auc_of_a_half_whatever_kinds_are_mixed():
    """Steps of a solution are right until the first error: kinds are uneven, and depend on each other."""
    rng = np.random.default_rng(0)

    def study():
        right = (rng.random((30, 6, 4)) < 0.8).cumprod(axis=2).astype(bool)
        return [Group(str(i), tuple(rng.random(24)), tuple(own.ravel().tolist())) for i, own in enumerate(right)]

    found = [within_auc(study()) for _ in range(60)]
    values = np.array([one.value for one in found])
    assert abs(values.mean() - 0.5) < 4 * values.std() / len(values) ** 0.5
    assert np.mean([0.5 in one.interval for one in found]) >= 0.85
