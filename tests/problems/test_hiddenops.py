"""Hidden operations: the text, an independent reading of it, the oracle for every prefix, and what splits promise."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop import specs
from isoflop.answers.base import Verdict
from isoflop.api import study_of
from isoflop.core import Origin, Step, StepEnd, Trajectory
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.segment import Segmenter
from isoflop.errors import ProblemError, SpecError
from isoflop.problems.generated import split_of
from isoflop.problems.hiddenops import HiddenOps, is_right_so_far
from isoflop.studies.run import Run

PROMPT = specs.parse("prompt", "plain(step_end=['= '], answer_prefix='\\n#### ')")
MANY = [next(HiddenOps(n_steps=(3, 5), ops=(1, 2, 3, 4)).stream("train", seed=str(seed))) for seed in range(40)]
any_problem = st.sampled_from(MANY)


def path(problem, text, end=StepEnd.DELIMITER):
    return Trajectory.at(Origin(problem, PROMPT.build(problem), "", (), 0, "a")).extend(Step(text, end=end), 0)


def naive(question):
    """Results and partial results by an independent reading: Python's own arithmetic, brackets for left to right."""
    values, hidden = {}, []
    *lines, asked = question.split("\n")
    for line in lines:
        name, given, expression = re.fullmatch(r"([a-z])(?: = (\d)|: (.*))", line).groups()
        if given:
            values[name] = int(given)
            continue
        first, *pairs = re.findall(r"[-+*] \w|\w", expression)
        results = [eval(first, {}, values)]
        for pair in pairs:
            results.append(eval(f"({results[-1]}) {pair}", {}, values) % 10)
        values[name] = results[-1]
        hidden.append(results[1:-1])
    return "".join(str(values[name]) for name in asked.rstrip("?")), hidden, values


def test_a_person_can_read_it():
    [problem] = HiddenOps(n_steps=(3,), ops=(2, 3), n=1, test_seed="snapshot").load("test")
    assert f"{problem.question}\n{problem.meta['solution']}".split("\n") == [
        "a = 5",
        "b = 9",
        "c: b * 9 * 9",
        "d: c - 2 + 1",
        "e: 3 - d + a",
        "cde?",
        "c: b9 * 9 * 9, c = 9",
        "d: c9 - 2 + 1, d = 8",
        "e: 3 - d8 + a5, e = 0",
        "#### 980",
    ]
    assert problem.meta["hidden"] == [[1], [7], [5]]
    assert problem.answer == "980"


@settings(deadline=None)
@given(any_problem)
def test_values_results_and_hidden_results_are_those_of_an_independent_reading(problem):
    answer, hidden, values = naive(problem.question)
    assert (problem.answer, problem.meta["hidden"]) == (answer, hidden)
    for line, partial in zip(problem.meta["solution"].split("\n")[:-1], hidden, strict=True):
        name, expression, result = re.fullmatch(r"([a-z]): (.*), \1 = (\d)", line).groups()
        definition = re.sub("([a-z])[0-9]", r"\1", expression)
        assert f"{name}: {definition}" in problem.question.split("\n")
        assert all(values[known] == int(digit) for known, digit in re.findall(r"([a-z])([0-9])", expression))
        assert int(result) == values[name]
        assert len(re.findall("[-+*]", expression)) == len(partial) + 1


@settings(deadline=None)
@given(any_problem)
def test_every_beginning_of_the_gold_solution_is_right_so_far(problem):
    gold = problem.meta["solution"]
    assert all(is_right_so_far(path(problem, gold[:end])) for end in range(len(gold) + 1))
    assert is_right_so_far(path(problem, gold + "\n", StepEnd.END))
    assert is_right_so_far(path(problem, gold.replace(" ", ""), StepEnd.END))
    assert not is_right_so_far(path(problem, gold[:-1], StepEnd.END))


@settings(deadline=None)
@given(any_problem, st.randoms(use_true_random=False))
def test_anything_changed_is_refused_from_there_on(problem, random):
    gold = problem.meta["solution"]
    at = random.choice([index for index, letter in enumerate(gold) if letter != " "])
    others = set("0123456789abc+-*=:,#\n") - {gold[at]}
    if gold[:at].endswith(", "):
        others -= set("0123456789")  # where partial results may begin
    changed = gold[:at] + random.choice(sorted(others)) + gold[at + 1 :]
    assert is_right_so_far(path(problem, changed[:at]))
    assert not any(is_right_so_far(path(problem, changed[:end])) for end in range(at + 1, len(gold) + 1))
    assert not is_right_so_far(path(problem, changed, StepEnd.END))


def test_partial_results_may_be_written_where_they_are_right():
    for problem in MANY:
        first, *rest = problem.meta["solution"].split("\n")
        start, _, result = first.rpartition(", ")
        for partial in (problem.meta["hidden"][0], [(digit + 1) % 10 for digit in problem.meta["hidden"][0]]):
            line = f"{start}, {' '.join(map(str, partial))}, {result}" if partial else first
            said = "\n".join([line, *rest])
            right = partial == problem.meta["hidden"][0]
            assert is_right_so_far(path(problem, said, StepEnd.END)) is right
            assert all(is_right_so_far(path(problem, said[:end])) for end in range(len(said) + 1)) is right


def test_a_line_without_its_working_is_not_right_whatever_it_says():
    for problem in MANY:
        first = problem.meta["solution"].split("\n")[0].rpartition(", ")[2]
        assert not is_right_so_far(path(problem, first[:4]))
        assert not is_right_so_far(path(problem, first))


def test_a_problem_draws_its_largest_k_and_each_quantity_up_to_it():
    problems = HiddenOps(n_steps=(6,), n=600).load("train")
    ops = [[len(partial) + 1 for partial in problem.meta["hidden"]] for problem in problems]
    assert 0.28 < sum(max(each) == 1 for each in ops) / len(ops) < 0.39
    mixed = Counter(count for each in ops if max(each) == 3 for count in each)
    assert max(mixed.values()) < 1.25 * min(mixed.values())


def test_a_wrong_partial_result_always_makes_a_wrong_result():
    for problem in MANY:
        for line in problem.meta["solution"].split("\n")[:-1]:
            assert set(re.findall(r"\* (\w+)", line)) <= {"3", "7", "9"}


def test_steps_end_right_before_their_results():
    for problem in MANY:
        text = problem.meta["solution"]
        root = Trajectory.at(Origin(problem, PROMPT.build(problem), "", (), 0, "a"))
        request = GenerationRequest(0, root, stream=0, temperature=1.0, max_tokens=999, until=Until.END)
        segmenter = Segmenter(request, [], b"", frozenset({0}))
        for letter in text:
            segmenter.push([ord(letter)], [-0.1], [letter.encode()])
        segmenter.push([0], [-0.1], [b""])
        first, *others = [step.text for step in segmenter.steps]
        assert first.startswith("c: ")
        assert [each[0] for each in others] == re.findall("= ([0-9])", text)


def test_the_grader_reads_the_last_line_and_nothing_else():
    problem = MANY[0]
    grader = specs.parse("grader", HiddenOps().grader)
    assert grader.verify(grader.extract(problem.meta["solution"]).text, problem.answer) is Verdict.CORRECT
    assert grader.extract(problem.meta["solution"].split("#")[0]) is None


def test_numbers_of_steps_and_operations_are_those_asked_for_and_ood_has_more():
    problems = HiddenOps(n_steps=(3, 5), ops=(1, 3), n=300)

    def shape(split):
        hidden = [problem.meta["hidden"] for problem in problems.load(split)]
        return {len(each) for each in hidden}, {len(partial) + 1 for each in hidden for partial in each}

    assert [shape(split) for split in ("train", "dev", "test")] == [({3, 5}, {1, 3})] * 3
    assert shape("ood") == ({7}, {4})
    assert problems.load("ood") == replace(problems, n_steps=(7,), ops=(4,)).load("test")


def test_there_are_a_thousand_answers_and_none_is_common():
    random = Random(0)
    answers = Counter(HiddenOps(n_steps=(3,)).draw(random).answer for _ in range(16_000))
    assert len(answers) == 1000
    assert answers.most_common(1)[0][1] < 0.02 * 16_000


def test_splits_cannot_overlap_whatever_the_fields_and_seeds():
    sets = [HiddenOps(n_steps=(3,), ops=(1,), n=300, test_seed=seed) for seed in ("0", "1")]
    sets.append(HiddenOps(n_steps=(3, 4), ops=(1, 2), n=300))
    questions = {split: {p.question for each in sets for p in each.load(split)} for split in ("train", "dev", "test")}
    questions["train"] |= {problem.question for problem in islice(sets[0].stream("train", seed="7"), 300)}
    assert sum(map(len, questions.values())) == len(set().union(*questions.values()))
    assert {split_of(problem.id) for each in sets for problem in each.load("ood")} == {"test"}


def test_the_test_seed_changes_test_alone_and_a_smaller_n_is_a_beginning():
    one, other = HiddenOps(n=50), HiddenOps(n=50, test_seed="e3b0c44298fc1c14")
    assert one.load("test") != other.load("test")
    assert one.load("ood") != other.load("ood")
    assert [one.load(split) for split in ("train", "dev")] == [other.load(split) for split in ("train", "dev")]
    assert HiddenOps(n=9).load("test") == one.load("test")[:9]
    assert specs.parse("problems", str(other)) == other


def test_another_process_draws_the_same():
    code = "from isoflop.problems.hiddenops import HiddenOps; print([p.id for p in HiddenOps(n=20).load('test')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(said.replace("'", '"')) == [problem.id for problem in HiddenOps(n=20).load("test")]


def test_a_study_of_the_harder_split_runs_with_the_step_oracle_as_its_guide(tmp_path: Path):
    study = study_of(
        model="scripted(skill=1.0)",
        problems="hiddenops(n=3)",
        split="ood",
        strategies=["rebase(width=2)"],
        reward="oracle()",
        prompt="plain(step_end=['= '], answer_prefix='\\n#### ')",
    )
    run = Run.create(study, tmp_path / "run")
    run.execute()
    assert {attempt.problem.id for attempt in run.attempts} == {one.id for one in HiddenOps(n=3).load("ood")}


def test_silly_fields_are_refused():
    with pytest.raises(SpecError, match=r"n_steps=\[2\] must lie between 3, which makes 1,000 answers, and 22"):
        HiddenOps(n_steps=(2,))
    with pytest.raises(SpecError, match=r"ops=\[0\] must lie between 1 and 9"):
        HiddenOps(ops=(0,))
    with pytest.raises(SpecError, match="n=0 must be at least 1"):
        HiddenOps(n=0)
    with pytest.raises(ProblemError, match="split 'tset' is unknown; did you mean 'test'"):
        HiddenOps().load("tset")


def test_half_of_all_questions_are_train_and_a_quarter_each_dev_and_test():
    random = Random(0)
    cells = Counter(split_of(HiddenOps().draw(random).id) for _ in range(4000))
    assert cells["train"] == pytest.approx(2000, abs=150)
    assert cells["dev"] == pytest.approx(1000, abs=130)
