"""Stepwise rejection: what is drawn again, how often, and which draw is taken."""

import math
from collections import Counter

import pytest

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Outcome, Problem
from isoflop.engines.scripted import Scripted
from isoflop.errors import SpecError
from isoflop.rewards.base import Reward, Scores
from isoflop.search.drive import drive
from isoflop.search.job import Job


class Chance(Reward):
    """A step's reward is the chance with which it was drawn: 0.6 without a slip, 0.04 with one."""

    def score(self, trajectories):
        chances = [tuple(math.exp(math.fsum(step.logprobs)) for step in each.steps) for each in trajectories]
        return Scores(tuple(chances), ({},) * len(chances))


def searched(strategy, problems=40):
    jobs = [
        [
            Job(i, Problem(f"p{i}", "q", str(i)), Prompt(text=f"How much is {i}?\n"), specs.parse("strategy", strategy),
                SamplingParams(), 0, MathGrader(fallback=None), Chance())
        ]
        for i in range(problems)
    ]  # fmt: skip
    return list(drive(jobs, Scripted(skill=0.6).open()))


def draws(attempt):
    """How many children each node of the tree that has any was grown."""
    return Counter(node.parent for node in attempt.nodes).values()


def test_a_step_that_is_accepted_is_not_drawn_again():
    for attempt in searched("retry(tries=8, accept=0.0)"):
        assert set(draws(attempt)) == {1}


def test_a_step_that_never_is_accepted_is_drawn_as_often_as_allowed():
    for attempt in searched("retry(tries=3, accept=1.0)", problems=5):
        assert set(draws(attempt)) == {3}


def test_compute_goes_to_the_steps_that_went_wrong():
    """Half way between the two rewards, a step is drawn until it has no slip: 1 / 0.6 times in the mean."""
    attempts = searched("retry(tries=20, accept=0.5)")
    assert all(attempt.outcome is Outcome.CORRECT for attempt in attempts)
    counts = [count for attempt in attempts for count in draws(attempt)]
    assert sum(counts) / len(counts) == pytest.approx(1 / 0.6, abs=0.3)


def test_rounds_are_solutions_that_vote():
    by_rounds = [searched(f"retry(tries=1, rounds={rounds})", problems=10) for rounds in (1, 5)]
    assert {len(attempt.candidates) for attempt in by_rounds[0]} == {1}
    assert max(len(attempt.candidates) for attempt in by_rounds[1]) == 5


@pytest.mark.parametrize("wrong", ["tries=0", "accept=1.5", "rounds=0"])
def test_what_means_nothing_is_refused_with_its_value(wrong):
    with pytest.raises(SpecError, match=wrong):
        specs.parse("strategy", f"retry({wrong})")
