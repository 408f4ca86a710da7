"""The published study's protocols: every fault that they are there for, and that a mend takes it away."""

from dataclasses import replace

import pytest

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Markers, Prompt, SamplingParams
from isoflop.core import Origin, Problem, Step, StepEnd, Stop, Trajectory
from isoflop.engines.scripted import Scripted
from isoflop.errors import SpecError
from isoflop.rewards.base import Reward, RewardContext, Scores
from isoflop.rewards.logprob import LogProb
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.search.published import PublishedRebase

PROMPT = Prompt("How much is 3?\n", markers=Markers(answer_prefix="\nTherefore, the answer (arabic numerals) is"))


class Fixed(Reward):
    """The same reward for every step."""

    def __init__(self, value):
        self.value = value

    def score(self, trajectories):
        return Scores(tuple((self.value,) * node.depth for node in trajectories))


def attempt(strategy, reward=None, prompt=PROMPT, **engine):
    reward = reward or LogProb().open(RewardContext())
    parsed = specs.parse("strategy", strategy)
    job = Job("p", Problem("p", "How much?", "3"), prompt, parsed, SamplingParams(), 0, MathGrader(), reward)
    [found] = drive([[job]], Scripted(**{"steps": 4, **engine}).open())
    return found


def node_of(text, question="Tom has apples. How many?", end=StepEnd.CAP, sampled=10):
    root = Trajectory.at(Origin(Problem("p", question, "3"), PROMPT, "", (), 0, "a"))
    return root.extend(Step(text, (0,) * sampled, (0.0,) * sampled, end=end), 0)


def test_a_vote_gets_the_suffix_whether_it_had_answered_or_not():
    found = attempt("published_vote(n=3, max_tokens=400)", skill=1.0)
    assert found.stop is Stop.FINISHED
    for candidate in found.candidates:
        text = "".join(step.text for step in found.nodes[candidate.node].steps)
        assert text.count("answer (arabic numerals) is") == 1
        assert "The answer is 3" in text  # it had answered
    cut = attempt("published_vote(n=3, max_tokens=20)", skill=1.0)
    assert all(node.num_sampled <= 20 + 12 for node in cut.nodes)
    assert "3 of 3 candidates were cut and not closed, as published_vote has it" in cut.message


def test_a_digit_makes_a_leaf_of_a_cut_and_no_tree_grows():
    found = attempt("published_rebase(width=6, step_tokens=30)")
    assert {node.num_sampled for node in found.nodes if not node.finished} <= set(range(31))
    assert all(candidate.answer is None or candidate.fallback for candidate in found.candidates)
    assert len(found.candidates) == 6
    roots = {found.nodes[candidate.node].path[0] for candidate in found.candidates}
    assert roots == set(range(6))  # best of six cuts, none was grown further
    assert max(found.nodes[candidate.node].num_sampled for candidate in found.candidates) == 30


def test_the_corrected_leaf_test_lets_the_tree_grow_to_its_end():
    found = attempt("published_rebase(width=6, step_tokens=30, leaf_test='finished')", skill=1.0)
    assert {candidate.answer for candidate in found.candidates} == {"3"}
    assert not any(candidate.fallback for candidate in found.candidates)
    labelled = [node.step.text for node in found.nodes if node.step.forced]
    assert labelled
    assert all(text.startswith(("\nStep 2:", "\nStep 3:", "\nStep 4:")) for text in labelled)
    unlabelled = attempt("published_rebase(width=6, step_tokens=30, leaf_test='finished', label='')", skill=1.0)
    assert not any(node.step.forced for node in unlabelled.nodes)
    assert {candidate.answer for candidate in unlabelled.candidates} == {"3"}


def test_a_path_that_never_ends_is_a_leaf_at_its_cap():
    found = attempt("published_rebase(width=2, step_tokens=20, max_tokens=50, leaf_test='finished')", endless=("p",))
    assert {found.nodes[candidate.node].num_sampled for candidate in found.candidates} == {50}
    assert found.stop is Stop.FINISHED


def test_nodes_of_low_reward_are_lost_with_their_width():
    assert len(attempt("published_rebase(width=4)", Fixed(0.2)).candidates) == 4
    lost = attempt("published_rebase(width=4)", Fixed(0.1))
    assert (lost.candidates, lost.stop, lost.answer) == ((), Stop.NO_CANDIDATES, None)
    assert len(attempt("published_rebase(width=4, drop=0.0)", Fixed(0.1)).candidates) == 4


def test_the_highest_last_reward_wins_and_a_weighted_vote_is_a_mend():
    one, other = attempt("published_rebase(width=5)"), attempt("published_rebase(width=5, vote='weighted')")
    weights = [candidate.weight for candidate in one.candidates]
    assert one.candidates[one.chosen].weight == max(weights)
    assert [candidate.answer for candidate in one.candidates] == [candidate.answer for candidate in other.candidates]


@pytest.mark.parametrize(
    ("text", "question", "leaf"),
    [
        (" First we count the apples", "Tom has apples. How many?", False),
        (" He has 3 apples. Then he eats. And sleeps", "How many?", False),  # the digit is three sentences back
        (" He has 3 apples. Then he eats", "How many?", True),
        (" Thus, he sleeps", "How many?", True),
        (" We count", "Therefore, how many?", True),  # said in the question
        ("", "Tom has 3 apples.", True),  # and so is its digit
    ],
)
def test_the_leaf_test_as_it_was(text, question, leaf):
    assert PublishedRebase().is_leaf(node_of(text, question)) is leaf
    assert PublishedRebase(leaf_test="finished").is_leaf(node_of(text, question)) is False
    assert PublishedRebase(leaf_test="finished").is_leaf(node_of(text, question, end=StepEnd.END))


def test_the_attempt_says_that_nothing_was_closed_and_ordinary_strategies_still_close():
    found = attempt("published_rebase(width=3, step_tokens=10)")
    assert "3 of 3 candidates were cut and not closed" in found.message
    closed = attempt("rebase(width=3)", prompt=replace(PROMPT, text="x"), endless=("p",))
    assert all(found.finished for found in (closed.nodes[candidate.node] for candidate in closed.candidates))


@pytest.mark.parametrize(
    "spec", ["published_vote(n=0)", "published_rebase(step_tokens=0)", "published_rebase(drop=1.0)"]
)
def test_values_that_mean_nothing_are_refused(spec):
    with pytest.raises(SpecError, match="published_"):
        specs.parse("strategy", spec)
