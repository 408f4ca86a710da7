"""Merging identical children, the uniform floor, logit shares and adaptive rounds: each one field of a search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Problem, Stop
from isoflop.cost.ledger import Cost
from isoflop.engines.scripted import Scripted
from isoflop.errors import SpecError
from isoflop.rewards.base import Reward, RewardContext, Scores
from isoflop.rewards.logprob import LogProb
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.search.rebase import balance


class Dear(Reward):
    """Log-probability at seven FLOPs a trajectory."""

    def score(self, trajectories):
        scores = LogProb().open(RewardContext()).score(trajectories)
        return Scores(scores.rewards, tuple({"reward": Cost(prefill_flops=7)} for _ in trajectories))


def searched(strategy, problems=6, **engine):
    jobs = [
        [
            Job(i, Problem(f"p{i}", "q", "3"), Prompt(text=f"How much is {i}?\n"), specs.parse("strategy", strategy),
                SamplingParams(), 0, MathGrader(), Dear())
        ]
        for i in range(problems)
    ]  # fmt: skip
    return sorted(drive(jobs, Scripted(**engine).open()), key=lambda attempt: attempt.key)


@pytest.mark.parametrize("kind", ["rebase(width=6", "beam(width=3, expand=2"])
def test_identical_children_are_scored_once_and_vote_as_often_as_they_came(kind):
    for plain, merged in zip(searched(f"{kind})", skill=1.0), searched(f"{kind}, merge=True)", skill=1.0), strict=True):
        assert merged.answer == plain.answer
        # All children are alike: one place a depth, where there were as many as the width.
        assert merged.charged["reward"].flops == 7 * 4
        assert plain.charged["reward"].flops > 7 * 4
        assert len({candidate.node for candidate in merged.candidates}) == 1
    assert len(searched("rebase(width=6, merge=True)", skill=1.0)[0].candidates) == 6


def test_merging_changes_who_is_asked_and_not_how_many_solutions_there_are():
    for attempt in searched("rebase(width=8, merge=True)", skill=0.6):
        assert (attempt.stop, len(attempt.candidates)) == (Stop.FINISHED, 8)
        grown = [(node.parent, node.text) for node in attempt.nodes]
        parents = [node.parent.text for node in attempt.nodes if node.parent.step is not None]
        assert len({id(node.parent) for node in attempt.nodes if node.parent.step}) == len(set(parents))
        assert len(grown) == len(attempt.nodes)


same_rewards = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5)), min_size=1, max_size=8)


@given(groups=same_rewards, width=st.integers(0, 64), floor=st.floats(0, 0.9), offset=st.integers(0, 99))
def test_a_prefix_that_stands_for_several_gets_what_they_would_have_got_together(groups, width, floor, offset):
    rewards, counts = [reward for reward, _ in groups], [count for _, count in groups]
    every = [reward for reward, count in groups for _ in range(count)]
    together = balance(rewards, width, 0.3, "round", counts=counts, floor=floor)
    apart = balance(every, width, 0.3, "round", floor=floor)
    assert sum(together) == width
    start = 0
    for count, got in zip(counts, together, strict=True):
        # Each of the several may be rounded by up to one, and the sum once more.
        assert abs(got - sum(apart[start : start + count])) <= count + 1
        start += count


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=12), width=st.integers(1, 64), floor=st.floats(0, 0.99))
def test_the_floor_is_an_even_share_that_no_reward_takes_away(values, width, floor):
    spent = balance(values, width, 0.02, "systematic", floor=floor)
    assert sum(spent) == width
    assert min(spent) >= int(floor * width / len(values) - 1e-9)
    assert balance(values, width, 0.02, "round", floor=0.0) == balance(values, width, 0.02, "round")


def test_a_high_floor_keeps_width_off_a_reward_that_is_sure():
    assert balance([1.0, 0.0], 8, 0.02) == [8, 0]
    assert balance([1.0, 0.0], 8, 0.02, floor=0.5) == [6, 2]
    with pytest.raises(SpecError, match="a part of the width"):
        specs.parse("strategy", "rebase(width=4, floor=1.0)")


def test_logit_shares_are_the_rewards_odds_at_temperature_one():
    drawn = searched("rebase(width=30, score='logit', temperature=1.0, balance='multinomial')", problems=1, skill=0.6)
    assert len(drawn[0].candidates) == 30
    odds = np.array([0.8 / 0.2, 0.5 / 0.5])
    assert balance([float(np.log(each)) for each in odds], 10, 1.0) == [8, 2]


def test_rounds_stop_when_the_leading_answer_is_safe():
    sure = searched("rebase(width=3, rounds=4)", skill=1.0)
    assert {len(attempt.candidates) for attempt in sure} == {6}  # three votes alike: 0.94; six: 0.99
    unsure = searched("rebase(width=3, rounds=4)", skill=0.4)
    assert 12 in {len(attempt.candidates) for attempt in unsure}
    once = searched("rebase(width=3)", skill=0.4)
    for alone, first in zip(once, unsure, strict=True):
        # The first round is the search without rounds, to the last token.
        assert [node.step for node in alone.nodes] == [node.step for node in first.nodes][: len(alone.nodes)]
    with pytest.raises(SpecError, match="rounds=0"):
        specs.parse("strategy", "beam(width=2, rounds=0)")
