"""The vote: three rules, ties by seeded chance and reported, never by order; unscored is never 0."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.answers.vote import VOTE_RULES, Candidate, VoteRule, vote
from isoflop.errors import RewardError, SpecError


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


CANDIDATES: list[Candidate] = [("18", 0.9), ("20", 0.5), ("20", 0.3), ("20", 0.05), (None, 0.99)]


@pytest.mark.parametrize(
    ("rule", "label", "index", "weights"),
    [
        ("majority", "20", 1, {"18": 1, "20": 3}),
        ("weighted", "18", 0, {"18": 0.9, "20": 0.85}),
        ("best", "18", 0, {"18": 0.9, "20": 0.5}),
    ],
)
def test_rules(rule: VoteRule, label: str, index: int, weights: dict[str, float]) -> None:
    won = vote(rule, CANDIDATES, seeded())
    assert (won.rule, won.label, won.index, won.tied) == (rule, label, index, ())
    assert won.weights == pytest.approx(weights)


def test_majority_needs_no_weights() -> None:
    assert vote("majority", [("1", None), ("2", None), ("2", None), (None, None), (None, None)], seeded()).label == "2"


def test_ties_are_reported_and_drawn_evenly() -> None:
    candidates: list[Candidate] = [("b", None), ("a", None), ("c", None), ("b", None), ("a", None)]
    votes = [vote("majority", candidates, seeded(seed)) for seed in range(400)]
    assert {won.tied for won in votes} == {("a", "b")}
    assert 150 < Counter(won.label for won in votes)["a"] < 250


def test_sums_that_differ_by_rounding_alone_tie() -> None:
    candidates: list[Candidate] = [("a", 0.1), ("a", 0.2), ("b", 0.3)]
    assert 0.1 + 0.2 != 0.3
    assert vote("weighted", candidates, seeded()).tied == ("a", "b")
    assert vote("weighted", [("a", 0.3 + 1e-9), ("b", 0.3)], seeded()).tied == ()


def test_the_generator_is_drawn_from_only_where_labels_tie() -> None:
    rng = seeded()
    vote("majority", [("1", None), ("2", None), ("2", None)], rng)
    assert rng.random() == seeded().random()


@pytest.mark.parametrize("rule", VOTE_RULES)
def test_no_answer_never_wins_against_one_and_only_then_is_the_label_none(rule: VoteRule) -> None:
    assert vote(rule, [(None, 1.0), (None, 1.0), ("7", 0.0)], seeded()).label == "7"
    nothing = vote(rule, [(None, 0.1), (None, 0.2)], seeded())
    assert (nothing.label, nothing.index, nothing.weights) == (None, 1, {})
    empty = vote(rule, [], seeded())
    assert (empty.label, empty.index) == (None, None)


weights = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0])
labels = st.sampled_from(["1", "2", "3", None])


@settings(deadline=None)
@given(st.data(), st.lists(st.tuples(labels, weights), max_size=9), st.sampled_from(VOTE_RULES), st.integers(0, 20))
def test_the_order_of_the_candidates_does_not_matter(
    data: st.DataObject, candidates: list[Candidate], rule: VoteRule, seed: int
) -> None:
    shuffled = data.draw(st.permutations(candidates))
    one, other = vote(rule, candidates, seeded(seed)), vote(rule, shuffled, seeded(seed))
    assert (one.label, one.tied, one.weights) == (other.label, other.tied, other.weights)
    if one.index is not None and other.index is not None:
        assert candidates[one.index] == shuffled[other.index]
        assert candidates[one.index][0] == one.label


@settings(deadline=None)
@given(st.lists(st.tuples(labels, st.integers(0, 8)), min_size=1), st.sampled_from(VOTE_RULES))
def test_the_winner_is_one_of_the_naive_twin(pairs: list[tuple[str | None, int]], rule: VoteRule) -> None:
    scores: dict[str, int] = {}
    for label, weight in pairs:
        if label is not None:
            so_far = scores.get(label, 0)
            scores[label] = {"majority": so_far + 1, "weighted": so_far + weight, "best": max(so_far, weight)}[rule]
    winners = sorted(label for label in scores if scores[label] == max(scores.values()))
    won = vote(rule, [(label, float(weight)) for label, weight in pairs], seeded())
    assert won.tied == (tuple(winners) if len(winners) > 1 else ())
    assert won.label in winners or (won.label is None and not winners)


@pytest.mark.parametrize("rule", ["weighted", "best"])
def test_an_unscored_candidate_is_an_error_not_zero(rule: VoteRule) -> None:
    with pytest.raises(RewardError, match=rf"candidate 1 of 2 \(label '2'\) has no weight.*'{rule}'.*'majority'"):
        vote(rule, [("1", 0.5), ("2", None)], seeded())
    with pytest.raises(RewardError, match="weight nan; a weight must be a finite number"):
        vote(rule, [("1", float("nan"))], seeded())


def test_negative_weights_are_refused_where_they_are_added() -> None:
    with pytest.raises(RewardError, match=r"weight -1.0; the 'weighted' vote adds weights"):
        vote("weighted", [("1", -1.0)], seeded())
    assert vote("best", [("1", -1.0), ("2", -0.5)], seeded()).label == "2"


def test_an_unknown_rule_is_an_error_that_names_the_allowed_ones() -> None:
    with pytest.raises(SpecError, match=r"'majorty' is unknown; did you mean 'majority'\? allowed: best, majority"):
        vote("majorty", [], seeded())  # type: ignore[arg-type]
