"""The controller: its expected gain is Bayes', enumerated here, and it spends by lambda."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Outcome, Problem, Stop
from isoflop.engines.scripted import Scripted
from isoflop.errors import SpecError
from isoflop.rewards.base import Reward, Scores
from isoflop.search.controller import answer_odds, expected_gain
from isoflop.search.drive import drive
from isoflop.search.job import Job

chances = st.floats(0.02, 0.98)
solutions = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), chances), max_size=5)


def posterior(found, answers, errors):
    """By enumeration of which answer is right: all are equally likely, and so are the wrong ones."""
    weights = []
    for truth in answers:
        weight = 1.0
        for answer, chance in found:
            weight *= chance if answer == truth else (1 - chance) / errors
        weights.append(weight)
    return [weight / sum(weights) for weight in weights]


@settings(deadline=None)
@given(found=solutions, chance=chances, errors=st.integers(3, 6))
def test_the_expected_gain_is_that_of_enumerating_truths_and_answers(found, chance, errors):
    answers = ["a", "b", "c", "d", "e", "f", "g"][: errors + 1]
    seen = {answer for answer, _ in found}
    before = posterior(found, answers, errors)
    now = max((p for p, answer in zip(before, answers, strict=True) if answer in seen), default=0.0)
    after = 0.0
    for (truth, p), said in product(zip(answers, before, strict=True), answers):
        likely = p * (chance if said == truth else (1 - chance) / errors)
        updated = posterior([*found, (said, chance)], answers, errors)
        after += likely * max(q for q, answer in zip(updated, answers, strict=True) if answer in seen | {said})
    odds = answer_odds(found, errors)
    assert expected_gain(odds, chance, errors) == pytest.approx(after - now, abs=1e-9)
    assert expected_gain(odds, chance, errors) >= -1e-12  # to know more never hurts


def test_a_solution_without_an_answer_says_nothing():
    assert answer_odds([(None, 0.9)], 5) == answer_odds([], 5)
    assert expected_gain(answer_odds([], 5), 0.7, 5) == pytest.approx(0.7)


def test_agreement_makes_further_solutions_worth_less():
    alone = expected_gain(answer_odds([("a", 0.6)], 20), 0.6, 20)
    agreed = expected_gain(answer_odds([("a", 0.6), ("a", 0.6)], 20), 0.6, 20)
    split = expected_gain(answer_odds([("a", 0.6), ("b", 0.6)], 20), 0.6, 20)
    assert agreed < alone < split + alone
    assert agreed < split


class Chances(Reward):
    """What a step without slips is worth on the scripted engine: the chance that none to come slips."""

    def score(self, trajectories):
        return Scores(
            tuple(tuple(self.worth(node, depth) for depth in range(1, node.depth + 1)) for node in trajectories)
        )

    def worth(self, node, depth):
        text = "".join(step.text for step in node.steps[:depth])
        slips = any(f"slips {slip}" in text for slip in range(1, 10))
        return 0.02 if slips else min(0.98, 0.6 ** (4 - min(depth, 4)))


class Falling(Reward):
    """Half as sure at every step, whatever it says: nothing deep is worth as much as starting anew."""

    def score(self, trajectories):
        return Scores(tuple(tuple(0.5**at for at in range(1, node.depth + 1)) for node in trajectories))


def solved(strategy, problems=60, reward=Chances):
    jobs = [
        [
            Job(i, Problem(f"p{i}", "q", "3"), Prompt(text=f"How much is {i}?\n"), specs.parse("strategy", strategy),
                SamplingParams(), 0, MathGrader(fallback=None), reward())
        ]
        for i in range(problems)
    ]  # fmt: skip
    found = list(drive(jobs, Scripted(steps=4, skill=0.6).open()))
    right = sum(attempt.outcome is Outcome.CORRECT for attempt in found) / problems
    tokens = sum(attempt.charged["policy"].new_tokens for attempt in found) / problems
    return right, tokens / 68, found  # 68 tokens: one solution


def test_a_reward_that_falls_with_depth_does_not_keep_it_from_answering():
    for attempt in solved("controller(lambda_=0.1)", 4, Falling)[2]:
        assert attempt.stop is Stop.FINISHED
        assert attempt.candidates
        assert len(attempt.nodes) <= 2 * 33 + 5  # patience twice, and the way straight down


def test_compute_that_is_dear_buys_one_solution_and_cheap_compute_more():
    dear, cheap = solved("controller(lambda_=0.9)", 12), solved("controller(lambda_=0.01)", 12)
    assert {len(attempt.candidates) for attempt in dear[2]} == {1}
    assert dear[1] < cheap[1]
    assert dear[0] <= cheap[0]
    assert all(attempt.stop is Stop.FINISHED for attempt in cheap[2])


def test_it_is_worth_more_than_votes_and_searches_of_fixed_size_at_its_own_lambda():
    price = 0.03
    rivals = ["weighted_vote(n=1)", "weighted_vote(n=4)", "weighted_vote(n=16)", "rebase(width=4)", "rebase(width=16)"]
    utility = {}
    for strategy in [f"controller(lambda_={price})", *rivals]:
        right, cost, _ = solved(strategy)
        utility[strategy] = right - price * cost
    assert max(utility, key=utility.get) == f"controller(lambda_={price})", utility


@pytest.mark.parametrize("spec", ["controller(lambda_=0)", "controller(max_solutions=0)", "controller(errors=0)"])
def test_values_that_mean_nothing_are_refused(spec):
    with pytest.raises(SpecError, match=r"controller\("):
        specs.parse("strategy", spec)
