"""The driver: event-driven, fair to neighbours, and it never loses a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Markers, Prompt, SamplingParams
from isoflop.core import Outcome, Problem, StepEnd, Stop
from isoflop.cost.ledger import Budget, Cost
from isoflop.engines.base import Until
from isoflop.engines.scripted import Scripted
from isoflop.engines.wrapped import Wrapped
from isoflop.errors import RewardError, SpecError
from isoflop.rewards.base import Reward, RewardContext, Scores
from isoflop.rewards.logprob import LogProb
from isoflop.rewards.oracle import Oracle
from isoflop.search.base import Expand, Score, Strategy
from isoflop.search.drive import drive
from isoflop.search.job import Job

SAMPLING, NO_LIMIT = SamplingParams(), Budget()


def job(strategy="greedy()", problem="p", *, reward=None, key=None, budget=NO_LIMIT, prompt=None, sampling=SAMPLING):
    parsed = specs.parse("strategy", strategy) if isinstance(strategy, str) else strategy
    reward = LogProb().open(RewardContext()) if reward is None and parsed.needs_reward else reward
    asked = prompt or Prompt(text=f"How much is {problem}?\n")
    return Job(key or problem, Problem(problem, "q", "3"), asked, parsed, sampling, 0, MathGrader(), reward, budget)


def test_a_short_search_is_not_held_up_by_a_long_one():
    engine = Scripted(steps=3, endless=("long",), tokens_per_poll=4).open()
    order = [attempt.key for attempt in drive([[job(problem="long")], [job(problem="short")]], engine)]
    assert order == ["short", "long"]


def test_jobs_of_a_chain_run_one_after_another_and_chains_side_by_side():
    engine = Scripted(tokens_per_poll=50).open()
    chain = [job("self_consistency(n=3)", key=("a", i)) for i in range(3)]
    keys = [attempt.key for attempt in drive([chain, [job(key="b")]], engine)]
    assert [key for key in keys if key != "b"] == [("a", 0), ("a", 1), ("a", 2)]
    assert keys[-1] != "b"


def test_rewards_of_all_waiting_searches_are_asked_for_together():
    @dataclass
    class Counting(Reward):
        calls: int = 0

        def score(self, trajectories):
            self.calls += 1
            return LogProb().open(RewardContext()).score(trajectories)

    reward = Counting()
    jobs = [[job("rebase(width=4)", f"p{i}", reward=reward)] for i in range(8)]
    assert len(list(drive(jobs, Scripted(steps=3).open(), concurrency=8))) == 8
    assert reward.calls <= 5  # three depths, the final vote, and no call per search


def test_the_engine_is_never_waited_for_with_nothing_to_do():
    """What follows from scores is asked for before the next poll: a poll of a server waits."""

    class Watched(Wrapped):
        open, idle = 0, 0

        def submit(self, requests):
            self.open += len(requests)
            self.inner.submit(requests)

        def poll(self):
            self.idle += not self.open
            done = self.inner.poll()
            self.open -= len(done)
            return done

    engine = Watched(Scripted(steps=3).open())
    assert len(list(drive([[job("rebase(width=4)")], [job("mcts(simulations=3)", "q")]], engine, concurrency=1))) == 2
    assert engine.idle == 0


def test_what_a_reward_costs_is_booked_under_its_role():
    class Dear(Reward):
        def score(self, trajectories):
            scores = LogProb().open(RewardContext()).score(trajectories)
            return Scores(scores.rewards, tuple({"reward": Cost(prefill_flops=7)} for _ in trajectories))

    [attempt] = drive([[job("best_of_n(n=5)", reward=Dear())]], Scripted().open())
    assert attempt.charged["reward"].flops == attempt.spent["reward"].flops == 35
    assert attempt.charged["policy"].flops > 0


def test_a_budget_pays_for_the_reward_too():
    class Dear(Reward):
        def score(self, trajectories):
            scores = LogProb().open(RewardContext()).score(trajectories)
            return Scores(scores.rewards, tuple({"reward": Cost(prefill_flops=20_000)} for _ in trajectories))

        def price(self, parent, tokens):
            return 20_000

    [attempt] = drive([[job("best_of_n(n=3)", reward=Dear(), budget=Budget(flops=250_000))]], Scripted().open())
    assert attempt.charged["reward"].flops == 60_000
    assert sum(cost.flops for cost in attempt.charged.values()) <= 250_000


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.5, None])
def test_a_reward_that_is_no_number_in_0_1_stops_that_search_alone(value):
    class Broken(Reward):
        def score(self, trajectories: Sequence):
            right = LogProb().open(RewardContext()).score(trajectories).rewards
            return Scores(
                tuple(
                    (value,) * len(each) if node.origin.problem.id == "bad" else each
                    for node, each in zip(trajectories, right, strict=True)
                )
            )

    reward = Broken()
    found = {
        a.key: a for a in drive([[job("rebase(2)", p, reward=reward)] for p in ("good", "bad")], Scripted().open())
    }
    assert found["bad"].outcome is Outcome.ERROR
    assert "rewards are numbers in [0, 1]" in found["bad"].message
    assert found["good"].stop is Stop.FINISHED
    assert all(candidate.weight is None for candidate in found["bad"].candidates)


def test_a_reward_that_leaves_a_trajectory_out_does_not_shift_its_neighbours_rewards():
    class Forgetful(Reward):
        def score(self, trajectories):
            heard = [node for node in trajectories if node.origin.problem.id != "bad"]
            return LogProb().open(RewardContext()).score(heard)

    alone, reward = job("rebase(3)", "b"), Forgetful()
    [wanted] = drive([[alone]], Scripted().open())
    found = {
        a.key: a for a in drive([[job("rebase(3)", p, reward=reward)] for p in ("a", "bad", "b")], Scripted().open())
    }
    assert (found["bad"].stop, found["bad"].message) == (Stop.ERROR, "Forgetful answered for 0 of 3 trajectories")
    assert found["b"].rewards == wanted.rewards


def test_a_reward_that_fails_on_one_problem_leaves_the_others():
    class Picky(Reward):
        def score(self, trajectories):
            if any(node.origin.problem.id == "bad" for node in trajectories):
                raise RewardError("the reward model cannot read this")
            return LogProb().open(RewardContext()).score(trajectories)

    reward = Picky()
    jobs = [[job("best_of_n(3)", p, reward=reward)] for p in ("a", "bad", "b")]
    found = {a.key: a for a in drive(jobs, Scripted().open())}
    assert found["bad"].message == "the reward model cannot read this"
    assert {found[key].stop for key in "ab"} == {Stop.FINISHED}


def test_a_reward_that_breaks_down_on_one_problem_leaves_the_others():
    class Breaking(Reward):
        def score(self, trajectories):
            if any(node.origin.problem.id == "bad" for node in trajectories):
                raise RuntimeError("out of memory")
            return LogProb().open(RewardContext()).score(trajectories)

    jobs = [[job("rebase(3)", p, reward=Breaking())] for p in ("a", "bad", "b")]
    found = {a.key: a for a in drive(jobs, Scripted().open())}
    assert (found["bad"].outcome, found["bad"].stop) == (Outcome.ERROR, Stop.ERROR)
    assert found["bad"].message == "Breaking failed: RuntimeError: out of memory"
    assert {found[key].stop for key in "ab"} == {Stop.FINISHED}


@pytest.mark.parametrize("strategy", ["rebase(4)", "best_of_n(4)"])
def test_a_reward_that_takes_more_than_it_foresaw_stops_the_search_and_says_so(strategy):
    class Dearer(Reward):
        def score(self, trajectories):
            scores = LogProb().open(RewardContext()).score(trajectories)
            return Scores(scores.rewards, tuple({"reward": Cost(prefill_flops=10**7)} for _ in trajectories))

    [attempt] = drive([[job(strategy, reward=Dearer(), budget=Budget(flops=10**7))]], Scripted().open())
    assert attempt.stop is Stop.BUDGET
    assert "scoring took more FLOPs than the reward foresaw" in attempt.message
    assert sum(cost.flops for cost in attempt.charged.values()) > 10**7  # told as it was


def test_seconds_are_checked_as_tokens_arrive_and_the_overshoot_is_told():
    now = [0.0]

    def clock():
        now[0] += 0.25
        return now[0]

    engine = Scripted(endless=("slow",), tokens_per_poll=1).open()
    jobs = [[job("self_consistency(2)", "slow", budget=Budget(seconds=5))], [job(problem="quick")]]
    found = {attempt.key: attempt for attempt in drive(jobs, engine, clock=clock)}
    assert found["slow"].stop is Stop.BUDGET
    assert "5 seconds" in found["slow"].message
    assert 0 < found["slow"].overshoot_seconds < 3
    assert found["quick"].outcome is Outcome.CORRECT


def test_what_was_complete_when_the_time_ran_out_is_voted_on():
    now = [0.0]

    @dataclass(frozen=True)
    class Slowly(Strategy):
        spec_name: ClassVar[str] = "slowly"

        def search(self, root):
            solutions = []
            for _ in range(100):
                now[0] += 1.0
                [[solution]] = yield Expand((root,), (1,), until=Until.END)
                solutions.append(solution)
            return solutions

    [attempt] = drive([[job(Slowly(), budget=Budget(seconds=4.5))]], Scripted().open(), clock=lambda: now[0])
    assert attempt.stop is Stop.BUDGET
    assert 1 <= len(attempt.candidates) <= 5
    assert attempt.answer is not None


def test_paths_that_a_strategy_returns_open_are_closed_for_it():
    @dataclass(frozen=True)
    class OneStep(Strategy):
        spec_name: ClassVar[str] = "one_step"

        def search(self, root):
            [children] = yield Expand((root,), (3,))
            return children

    [attempt] = drive([[job(OneStep())]], Scripted().open())
    assert [attempt.nodes[c.node].step.end for c in attempt.candidates] == [StepEnd.CLOSED] * 3
    assert attempt.answer is not None


def test_a_strategy_that_returns_nothing_is_a_stop_and_not_an_answer():
    @dataclass(frozen=True)
    class Nothing(Strategy):
        spec_name: ClassVar[str] = "nothing"

        def search(self, root):
            yield Score(())
            return ()

    [attempt] = drive([[job(Nothing())]], Scripted().open())
    assert (attempt.stop, attempt.outcome) == (Stop.NO_CANDIDATES, Outcome.NO_ANSWER)


def test_a_path_that_goes_on_for_ever_ends_at_its_depth():
    sampling = SamplingParams(max_steps=4, max_tokens=2000)
    [attempt] = drive([[job("rebase(width=3)", "p", sampling=sampling)]], Scripted(endless=("p",)).open())
    assert attempt.stop is Stop.DEPTH
    assert "max_steps=4" in attempt.message
    assert max(node.depth for node in attempt.nodes) == 5


def test_whole_samples_and_samples_grown_step_by_step_are_the_same_text():
    [whole] = drive([[job("self_consistency(n=4)")]], Scripted(steps=4).open())

    @dataclass(frozen=True)
    class StepByStep(Strategy):
        spec_name: ClassVar[str] = "step_by_step"

        def search(self, root):
            [paths] = yield Expand((root,), (4,))
            while not all(path.finished for path in paths):
                grown = yield Expand(paths, [1 - path.finished for path in paths])
                paths = [new[0] if new else old for new, old in zip(grown, paths, strict=True)]
            return paths

    [grown] = drive([[job(StepByStep())]], Scripted(steps=4).open())
    assert [whole.nodes[c.node].text for c in whole.candidates] == [grown.nodes[c.node].text for c in grown.candidates]


def test_budget_forcing_takes_an_eager_ending_back():
    [attempt] = drive([[job("budget_forcing(think_tokens=120)")]], Scripted(steps=2).open())
    texts = [node.text for node in attempt.nodes if node.finished]
    assert any("Wait," in text for text in texts)
    assert attempt.charged["policy"].new_tokens <= 120 + 16


def test_budget_forcing_reopens_the_think_block():
    think = Prompt(text="<think>\n", markers=Markers(think=("<think>", "</think>")))
    [attempt] = drive([[job("budget_forcing(think_tokens=120)", prompt=think)]], Scripted(steps=2).open())
    [candidate] = attempt.candidates
    path = attempt.nodes[candidate.node]
    assert "Wait," in path.text
    assert path.text.count("</think>") == 1
    assert attempt.answer is not None


def test_an_oracle_may_select_but_not_steer():
    oracle = Oracle().open(RewardContext(is_correct=lambda node: "3" in node.visible_text))
    law = r"judges complete solutions only .*each_step=False.* may select .* not steer; .* leave each_step=False out"
    assert list(drive([[job("best_of_n(4)", reward=oracle)]], Scripted().open()))
    with pytest.raises(SpecError, match=law):
        list(drive([[job("rebase(4)", reward=oracle)]], Scripted().open()))


def test_a_strategy_without_the_reward_it_needs_is_refused():
    asking = job("rebase(4)")
    lacking = Job("k", asking.problem, asking.prompt, asking.strategy, SAMPLING, 0, asking.grader)
    with pytest.raises(SpecError, match="rebase\\(width=4\\) needs a reward"):
        list(drive([[lacking]], Scripted().open()))


def test_ties_are_broken_by_seeded_chance_and_reported():
    found = []
    for seed in range(20):
        tied = job("self_consistency(n=2)")
        tied = Job(tied.key, tied.problem, tied.prompt, tied.strategy, SAMPLING, seed, tied.grader)
        found += drive([[tied]], Scripted(skill=0.5).open())
    ties = [attempt for attempt in found if attempt.tied]
    assert ties
    assert all(len(attempt.tied) == 2 and attempt.answer in attempt.tied for attempt in ties)
    assert {attempt.tied.index(attempt.answer) for attempt in ties} == {0, 1}
