"""Noise on a reward: none is none, it belongs to the path, and more of it tells right from wrong less well."""

from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.errors import SpecError
from isoflop.rewards.base import Reward, RewardContext, Scores
from isoflop.rewards.noisy import NoisyReward


class Fixed(Reward):
    """0.9 for steps that say "right", 0.2 for others."""

    def score(self, trajectories):
        rewards = [tuple(0.9 if "right" in step.text else 0.2 for step in each.steps) for each in trajectories]
        return Scores(tuple(rewards), ({},) * len(rewards))


def paths(count, texts=("right\n", "wrong\n")):
    root = Trajectory.at(Origin(Problem("p", "q", "1"), Prompt("q"), "q", (), 0, "s"))
    return [root.extend(Step(texts[index % len(texts)]), index) for index in range(count)]


def scored(sigma, trajectories, seed=0):
    return [rewards[-1] for rewards in NoisyReward(Fixed(), sigma, seed).score(trajectories).rewards]


def auc(sigma):
    told = scored(sigma, paths(400))
    return mean(right > wrong for right in told[::2] for wrong in told[1::2])


def test_no_noise_is_the_reward_itself():
    trajectories = paths(20)
    assert NoisyReward(Fixed(), 0.0, 0).score(trajectories) == Fixed().score(trajectories)


@given(sigma=st.floats(0.01, 1e6), seed=st.integers(0, 9))
def test_noise_belongs_to_the_path_whoever_else_is_scored(sigma, seed):
    trajectories = paths(6)
    together = scored(sigma, trajectories, seed)
    assert together == [scored(sigma, [each], seed)[0] for each in trajectories]
    assert all(0 <= reward <= 1 for reward in together)
    child = trajectories[0].extend(Step("right\n"), 0)
    [rewards] = NoisyReward(Fixed(), sigma, seed).score([child]).rewards
    assert rewards[0] == together[0]


def test_more_noise_tells_less():
    found = [auc(sigma) for sigma in (0.0, 2.0, 8.0, 100.0)]
    assert found == sorted(found, reverse=True)
    assert (found[0], round(found[-1], 1)) == (1.0, 0.5)
    assert scored(2.0, paths(6), seed=1) != scored(2.0, paths(6), seed=2)


def test_it_is_spelled_around_the_reward_and_reads_by_its_head():
    spec = specs.parse("reward", "noisy(trunk('heads/first'), sigma=4.0)")
    assert spec.head == "heads/first"
    assert specs.parse("reward", str(spec)) == spec
    assert not specs.parse("reward", "noisy(outcome('m'))").head
    with pytest.raises(SpecError, match=r"noisy\(sigma=-1.0\): 0 or more"):
        specs.parse("reward", "noisy(random(), sigma=-1.0)")
    opened = specs.parse("reward", "noisy(logprob(), sigma=1.0)").open(RewardContext())
    assert opened.reads_logprobs
