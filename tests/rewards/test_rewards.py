"""The three rewards that need no model."""

import math

import pytest

from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, StepEnd, Trajectory
from isoflop.errors import RewardError
from isoflop.rewards.base import Reward, RewardContext, Scores
from isoflop.rewards.ensemble import EnsembleReward
from isoflop.rewards.logprob import LogProb
from isoflop.rewards.oracle import Oracle
from isoflop.rewards.random import Random


def path(*steps, problem="p", seed=0):
    node = Trajectory.at(Origin(Problem(problem, "q", "4"), Prompt(), "q", (1,), seed, "s"))
    for index, step in enumerate(steps):
        node = node.extend(step, index)
    return node


SURE = Step("2 + 2 = 4\n", (1, 2), (math.log(0.9), math.log(0.9)))
UNSURE = Step("so 5\n", (3,), (math.log(0.25),))
FORCED = Step("\nThe answer is 4", (7, 8, 9), (math.log(0.5),), forced=2, end=StepEnd.CLOSED)


def test_logprob_is_the_geometric_mean_of_the_steps_own_tokens():
    [rewards] = LogProb().open(RewardContext()).score([path(SURE, UNSURE)]).rewards
    assert rewards == pytest.approx((0.9, 0.25))


def test_forced_tokens_do_not_count_as_the_policys_choice():
    [rewards] = LogProb().open(RewardContext()).score([path(FORCED)]).rewards
    assert rewards == pytest.approx((0.5,))


def test_logprob_without_log_probabilities_is_an_error_not_a_zero():
    with pytest.raises(RewardError, match=r"carries no log-probabilities \(2 tokens, 0 forced\)"):
        LogProb().open(RewardContext()).score([path(Step("x", (1, 2)))])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_log_probability_that_is_no_number_is_an_error_and_no_certainty(value):
    with pytest.raises(RewardError, match=r"cannot score the step 'x': its log-probabilities are \(-0.5, (nan|inf)\)"):
        LogProb().open(RewardContext()).score([path(Step("x", (1, 2), (-0.5, value)))])


@pytest.mark.parametrize("combine", ["min", "mean", "product"])
def test_an_ensemble_does_not_hide_a_number_that_is_no_reward(combine):
    class Broken(Reward):
        def score(self, trajectories):
            return Scores(tuple((math.nan,) * each.depth for each in trajectories))

    reward = EnsembleReward([LogProb().open(RewardContext()), Broken()], combine)
    with pytest.raises(RewardError, match=r"gave nan for problem 'p'; rewards are numbers in \[0, 1\]"):
        reward.score([path(SURE)])


def test_random_gives_a_path_the_same_numbers_whenever_and_with_whomever_it_is_scored():
    reward = Random(seed=3).open(RewardContext())
    one, other = path(SURE, UNSURE), path(SURE, UNSURE, problem="other")
    assert reward.score([other, one]).rewards[1] == reward.score([one]).rewards[0]
    assert reward.score([one]).rewards[0][:1] == reward.score([one.parent]).rewards[0]
    assert len({reward.score([node]).rewards[0] for node in (one, other, path(SURE, UNSURE, seed=1))}) == 3
    assert Random(seed=4).open(RewardContext()).score([one]).rewards != reward.score([one]).rewards


def test_the_final_oracle_knows_complete_solutions_only():
    oracle = Oracle().open(RewardContext(is_correct=lambda node: "4" in node.visible_text))
    assert not oracle.guides_search
    assert oracle.score([path(SURE), path(UNSURE, UNSURE)]).rewards == ((1.0,), (0.0, 0.0))


def test_the_step_oracle_may_guide():
    oracle = Oracle().open(RewardContext(step_is_correct=lambda node: "5" not in node.text))
    assert oracle.guides_search
    assert oracle.score([path(SURE, UNSURE, SURE)]).rewards == ((1.0, 0.0, 0.0),)


def test_an_oracle_without_gold_answers_is_refused():
    with pytest.raises(RewardError, match="needs problems with gold answers"):
        Oracle().open(RewardContext())
