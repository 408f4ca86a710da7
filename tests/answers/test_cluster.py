"""Answers that are equal vote together, whatever their spelling and their order; None stays None."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.answers import cluster as module
from isoflop.answers.base import Verdict
from isoflop.answers.cluster import cluster
from isoflop.answers.verify import verify


def test_numbers_get_their_canonical_value() -> None:
    answers = ["1,248", None, "1248", "$1248.00", "1/2", "0.5", "-3", "−3", "18 dollars"]
    assert cluster(answers) == ["1248", None, "1248", "1248", "1/2", "1/2", "-3", "-3", "18"]
    assert cluster([]) == []
    assert cluster([None, None]) == [None, None]


def test_a_percentage_joins_what_it_is_written_like_else_what_it_means() -> None:
    assert cluster(["50%", "50", "0.5"]) == ["50", "50", "1/2"]
    assert cluster(["50%", "0.5"]) == ["1/2", "1/2"]
    assert cluster(["50%", "50 percent", "7"]) == ["50%", "50%", "7"]


def test_long_decimals_join_the_fraction_they_round() -> None:
    assert cluster(["0.333333", "1/3", "0.33"]) == ["1/3", "1/3", "33/100"]
    assert cluster(["18.000000", "18"]) == ["18", "18"]


def test_expressions_are_compared_by_what_they_mean() -> None:
    labels = cluster(["x+1", "1+x", "x+2", "2^3", "8", r"\text{Monday}", "monday", "listen", "silent"])
    assert labels[0] == labels[1] != labels[2]
    assert labels[3] == labels[4] == "8"
    assert labels[5] == labels[6]
    assert labels[7] != labels[8]


def test_what_cannot_be_read_votes_with_its_own_text_alone() -> None:
    hostile = "9" * 100_000
    labels = cluster(["{{", "{{ ", "9**9**9", hostile, hostile + "1", hostile, "x+1", "1+x"])
    assert labels[0] == labels[1]
    assert labels[3] == labels[5] != labels[4]
    assert labels[6] == labels[7]
    assert len(set(labels)) == 5
    assert all(label is not None and len(label) < 300 for label in labels)


@pytest.mark.parametrize(("bound", "value"), [("MAX_COMPARISONS", 0), ("MAX_COMPARISONS", 2), ("MAX_SECONDS", 0.0)])
def test_beyond_the_bound_on_work_texts_vote_for_themselves(
    bound: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, bound, value)
    assert cluster(["x+1", "1+x", "5", "5.0"]) == ["x+1", "1+x", "5", "5"]


POOL = ["18", "18.0", "1/2", "50%", "50", "0.333333", "1/3", "x+1", "1+x", "x", "no solution", "{{", None, "2^3", "8"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(POOL), max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(answers: list[str | None], chance: random.Random) -> None:
    shuffled = list(answers)
    chance.shuffle(shuffled)
    assert dict(zip(answers, cluster(answers), strict=True)) == dict(zip(shuffled, cluster(shuffled), strict=True))


@settings(deadline=None)
@given(st.lists(st.sampled_from([text for text in POOL if text not in (None, "{{")]), min_size=2, max_size=8))
def test_a_label_means_equal_to_the_others_that_bear_it(answers: list[str]) -> None:
    labels = cluster(answers)
    for answer, label in zip(answers, labels, strict=True):
        assert label is not None
        assert verify(answer, label) is Verdict.CORRECT
