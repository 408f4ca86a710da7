"""Countdown: the rules against brute force, the oracle, the grader, and that the two agree."""

import itertools
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop import specs
from isoflop.answers.base import Verdict
from isoflop.answers.countdown import CountdownGrader
from isoflop.api import study_of
from isoflop.core import Origin, Step, StepEnd, Trajectory
from isoflop.countdown import moves, play, reachable, start_of
from isoflop.errors import ProblemError, SpecError
from isoflop.problems.countdown import Countdown, is_still_reachable
from isoflop.problems.generated import split_of
from isoflop.studies.run import Run

PROMPT = specs.parse("prompt", "plain(answer_prefix='')")
MANY = Countdown(n=40).load("train")
any_problem = st.sampled_from(MANY)
few_numbers = st.lists(st.integers(0, 9), min_size=1, max_size=4).map(lambda numbers: tuple(sorted(numbers)))


def path(problem, text, end=StepEnd.DELIMITER):
    return Trajectory.at(Origin(problem, PROMPT.build(problem), "", (), 0, "a")).extend(Step(text, end=end), 0)


def values(numbers):
    """Everything that can be made of numbers in this order, by all ways of setting brackets; no negative part."""
    if len(numbers) == 1:
        return set(numbers)
    made = set()
    for cut in range(1, len(numbers)):
        for one, other in itertools.product(values(numbers[:cut]), values(numbers[cut:])):
            made |= {one + other, one * other} | ({one - other} if one >= other else set())
    return made


@settings(deadline=None)
@given(few_numbers, st.integers(0, 60))
def test_reachable_is_what_some_order_and_brackets_make(numbers, target):
    assert reachable(numbers, target) == any(target in values(order) for order in itertools.permutations(numbers))


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=5).map(lambda numbers: tuple(sorted(numbers))))
def test_every_move_is_a_legal_play_that_names_where_it_started(numbers):
    for line, left in moves(numbers):
        assert play(numbers, line) == left
        assert start_of(line) == numbers
        assert len(left) == len(numbers) - 1


def test_lines_that_break_a_rule_are_refused():
    assert play((3, 7, 12), "12 - 7 = 5, left 5 3") == (3, 5)
    assert play((3, 7, 12), "3 + 7 = 10, left 10 12") == (10, 12)
    for line in (
        "12 - 7 = 6, left 3 6",  # false
        "12 - 7 = 5, left 3 6",  # says that something else is left
        "12 - 7 = 5, left 3 5 7",  # keeps what was used
        "7 + 7 = 14, left 3 12",  # uses a number twice
        "7 + 7 = 14, left 3 12 14",
        "9 - 7 = 2, left 2 3",  # takes what is not there
        "3 - 7 = -4, left -4 12",  # below zero
        "12 / 3 = 4, left 4 7",
        "12 - 7 = 5",
        f"12 * {'7' * 5000} = 5, left 3",
        "",
    ):
        assert play((3, 7, 12), line) is None


def test_a_person_can_read_it():
    [problem] = Countdown(n=1, test_seed="snapshot").load("test")
    assert (problem.question, problem.answer) == ("46 from 3 5 15 16?", "46 from 3 5 15 16")
    assert problem.meta["solution"].split("\n") == [
        "5 * 3 = 15, left 15 15 16",
        "16 + 15 = 31, left 15 31",
        "31 + 15 = 46, left 46",
    ]


@settings(deadline=None)
@given(any_problem, st.randoms(use_true_random=False))
def test_oracle_and_grader_agree_on_any_play(problem, random):
    left, target, lines = problem.meta["numbers"], problem.meta["target"], []
    while len(left) > 1:
        line, left = random.choice(list(moves(left)))
        lines.append(line)
        so_far = path(problem, "\n".join(lines) + "\n")
        assert is_still_reachable(so_far) == any(target in values(order) for order in set(itertools.permutations(left)))
    text = "\n".join(lines)
    verdict = CountdownGrader().verify(CountdownGrader().extract(text).text, problem.answer)
    assert (verdict is Verdict.CORRECT) == (left == (target,)) == is_still_reachable(path(problem, text, StepEnd.END))


@settings(deadline=None)
@given(any_problem, st.randoms(use_true_random=False))
def test_a_changed_result_is_refused_from_there_on(problem, random):
    gold = problem.meta["solution"]
    result = random.choice(list(re.finditer(r"(?<== )\d+", gold)))
    changed = f"{gold[: result.start()]}{int(result[0]) + random.randint(1, 9)}{gold[result.end() :]}\n"
    for end in range(changed.index("\n", result.start()) + 1, len(changed) + 1):
        assert not is_still_reachable(path(problem, changed[:end]))
    assert CountdownGrader().extract(changed).text != problem.answer


@settings(deadline=None)
@given(any_problem, st.randoms(use_true_random=False))
def test_oracle_and_grader_agree_on_any_text(problem, random):
    text = list(problem.meta["solution"])
    for _ in range(random.randint(1, 3)):
        text[random.randrange(len(text))] = random.choice("0123456789+-* \n")
    written = "".join(text)
    found = CountdownGrader().extract(written)
    right = found is not None and found.text == problem.answer
    assert is_still_reachable(path(problem, written, StepEnd.END)) == right


def test_the_gold_solution_is_accepted_line_by_line_and_must_be_complete():
    for problem in MANY:
        gold = problem.meta["solution"]
        assert all(is_still_reachable(path(problem, gold[:end])) for end in range(len(gold)))
        assert is_still_reachable(path(problem, gold + "\n", StepEnd.END))
        first = gold.split("\n")[0]
        assert not is_still_reachable(path(problem, first, StepEnd.END))
        assert CountdownGrader().extract(first).text == first
    assert CountdownGrader().extract("\n") is None


def test_solutions_that_make_the_same_of_the_same_vote_together():
    grader = specs.parse("grader", Countdown().grader)
    texts = ["12 - 7 = 5, left 3 5\n5 * 3 = 15, left 15", "12 - 7 = 5, left 5 3\n3 * 5 = 15, left 15\n", "", "no"]
    read = [grader.extract(text) for text in texts]
    labels = grader.cluster([None if each is None else each.text for each in read])
    assert labels == ["15 from 3 7 12", "15 from 3 7 12", None, "no"]
    assert grader.verify("no", "15 from 3 7 12") is Verdict.WRONG


def test_fields_are_kept_and_ood_has_one_number_more():
    problems = Countdown(n_numbers=3, largest=12, target=(20, 40), n=60)
    for split, count in (("train", 3), ("dev", 3), ("test", 3), ("ood", 4)):
        for problem in problems.load(split):
            assert len(problem.meta["numbers"]) == count
            assert max(problem.meta["numbers"]) <= 12
            assert 20 <= problem.meta["target"] <= 40


def test_splits_cannot_overlap_and_other_processes_draw_the_same():
    sets = [Countdown(n_numbers=3, n=300), Countdown(n_numbers=3, n=300, test_seed="1")]
    ids = {split: {p.id for each in sets for p in each.load(split)} for split in ("train", "dev", "test")}
    assert sum(map(len, ids.values())) == len(set().union(*ids.values()))
    assert all({split_of(one) for one in found} == {split} for split, found in ids.items())
    code = "from isoflop.problems.countdown import Countdown; print(Countdown(n=5).load('test')[4].id)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == Countdown(n=5).load("test")[4].id


def test_what_goes_wrong_is_the_choice():
    """A player at random seldom gets there, and most first moves are already wrong."""
    right = Counter(
        reachable(left, problem.meta["target"]) for problem in MANY for _, left in moves(problem.meta["numbers"])
    )
    assert 0.1 < right[True] / right.total() < 0.5


def test_a_study_runs_although_the_dice_solve_nothing(tmp_path):
    study = study_of(
        model="scripted()",
        problems="countdown(n=2)",
        strategies=["rebase(width=2)", "self_consistency(n=2)"],
        reward="oracle()",
        prompt="plain(answer_prefix='')",
        sampling="sampling(max_tokens=20)",
    )
    run = Run.create(study, tmp_path / "run")
    run.execute()
    assert [attempt.outcome for attempt in run.attempts] == ["wrong"] * 4


def test_silly_fields_are_refused():
    with pytest.raises(SpecError, match="n_numbers=7 must lie between 3 and 6"):
        Countdown(n_numbers=7)
    with pytest.raises(SpecError, match=r"target=\[9, 3\] must be the lowest and the highest target"):
        Countdown(target=(9, 3))
    with pytest.raises(SpecError, match="largest=5 must be at least 10"):
        Countdown(largest=5)
    with pytest.raises(ProblemError, match=r"10,000 draws gave no problem of dev; make its fields less narrow"):
        Countdown(n_numbers=3, target=(8001, 8002)).load("dev")
    with pytest.raises(ProblemError, match=r"train: only \d+ different problems were found; give n=\d+ or less"):
        Countdown(n_numbers=3, largest=10, target=(10, 10), n=60).load("train")
