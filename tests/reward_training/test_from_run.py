"""Labels from stored runs of the scripted engine, whose steps' true values are known: skill ** steps left, or 0."""

import json
import math
from dataclasses import replace
from statistics import fmean

import pytest

from isoflop.errors import StudyError
from isoflop.reward_training.from_run import RunLabels
from isoflop.reward_training.labels import LabelledSolution
from isoflop.studies.plan import assumptions_from, plan_study
from isoflop.studies.run import Run
from isoflop.studies.study_file import study_from_dict

STEPS = 5


@pytest.fixture
def ran(tmp_path):
    """Run a strategy on a few problems."""

    def run(strategy, model=f"scripted(steps={STEPS}, skill=0.8)", problems=12, **more):
        path = tmp_path / "problems.jsonl"
        path.write_text("\n".join(json.dumps({"question": f"{i} + 0?", "answer": str(i)}) for i in range(problems)))
        table = {"problems": f"jsonl({str(path)!r}, grader='math(fallback=none)')", "model": model}
        study = study_from_dict({**table, "strategy": strategy, "prompt": "plain()", **more}, "study")
        made = Run.create(study, tmp_path / study.hash)
        made.execute()
        return made

    return run


def slipped(solution: LabelledSolution, place: int) -> bool:
    """Whether a step up to this one was wrong."""
    return any("slips" in step.text and not step.text.endswith("slips 0\n") for step in solution.steps[: place + 1])


def first_error(solution: LabelledSolution) -> int:
    return next((place for place, label in enumerate(solution.labels) if label == 0), -1)


def test_soft_labels_are_the_true_values_within_sampling_error(ran):
    run = ran("rollouts(n=6, completions=8)")
    by_place: dict[int, list[float]] = {}
    for solution in RunLabels(run, "soft"):
        assert solution.labels[-1] == float(solution.correct)
        for place, step in enumerate(solution.steps[:-1]):
            assert step.completions % 8 == 0
            assert step.completions >= 8
            if slipped(solution, place):
                assert step.label == 0
            else:
                by_place.setdefault(place, []).append(step.label)
    for place, values in by_place.items():
        true = 0.8 ** (STEPS - 1 - place)
        assert fmean(values) == pytest.approx(true, abs=4 * math.sqrt(0.25 / (8 * 10)))


def test_hard_labels_by_halves_find_the_first_error_that_all_completions_show(ran):
    every = list(RunLabels(ran("rollouts(n=6, completions=12)"), "hard"))
    binary = list(RunLabels(ran("rollouts(n=6, completions=12, first_error='binary')"), "hard"))
    assert any(not solution.correct for solution in every)
    for one, other in zip(every, binary, strict=True):
        assert [step.text for step in one.steps] == [step.text for step in other.steps]
        if not one.correct:
            assert first_error(one) == first_error(other)
        assert None not in other.labels
        assert list(other.labels) == sorted(other.labels, reverse=True)


def test_binary_search_draws_few_completions_and_equal_prefixes_are_completed_once(ran):
    completions = 2
    for first_error_, most in (("binary", math.ceil(math.log2(STEPS + 1)) + 1), ("every", STEPS)):
        run = ran(f"rollouts(n=4, completions={completions}, first_error='{first_error_}')")
        for record in run.attempts:
            ends = [node for node in record.nodes if node.step.text.startswith("The answer")]
            assert len(ends) - 4 <= 4 * completions * most
    once = ran("rollouts(n=5, completions=2)", "scripted(steps=3, skill=1.0)", problems=2)
    for record in once.attempts:  # five equal solutions have three prefixes, not fifteen
        assert len([node for node in record.nodes if node.step.text.startswith("The answer")]) == 5 + 3 * 2


def test_outcome_labels_come_from_any_run_and_failures_are_counted_not_labelled(ran):
    run = ran("best_of_n(n=3)", "scripted(broken=['problems/test/1'], mute=['problems/test/2'])", problems=4)
    labels = RunLabels(run, "outcome")
    solutions = list(labels)
    assert len(solutions) == 9
    assert labels.skipped == {"failed attempts": 1}
    for solution in solutions:
        assert set(solution.labels) == {float(solution.correct)}
    with pytest.raises(StudyError, match="has no completions, which soft labels are made of"):
        RunLabels(run, "soft")


def test_thoughts_are_kept_without_a_label_and_forced_closes_have_their_own_result(ran):
    thinking = {"prompt": "reasoning(system='<think>', step_end=['\\n'])", "problems": 1}
    for solution in RunLabels(ran("rollouts(n=2, completions=1)", "scripted(steps=2)", **thinking), "hard"):
        assert [step.channel for step in solution.steps] == ["think", "think", "think", "visible"]
        assert solution.labels == (None, None, None, float(solution.correct))
    short = ran("rollouts(n=1)", problems=1, sampling="sampling(max_tokens=20)")
    [solution] = RunLabels(short, "hard")
    assert solution.labels[-1] == float(solution.correct)


def test_the_plan_is_within_reason_of_what_is_taken(ran):
    # What the plan makes up mends errors at any prefix, so its binary searches end late, where completions are short.
    for first_error_, most in (("every", 2), ("binary", 3)):
        run = ran(f"rollouts(n=4, completions=4, first_error='{first_error_}')")
        assumed = replace(assumptions_from(run), agreement=0.8**STEPS)  # the share that is right
        [outcome] = plan_study(run.study, assumptions=assumed).compare_with(run)
        assert 1 / most < outcome.ratio < most


PROBLEMS_WITH_ORACLE = {
    "problems": "hiddenops(n_steps=[3], n=6)",
    "split": "train",
    "model": "local('lab:base', context_tokens=256, memory_gb=0.2, threads=1)",
    "prompt": "plain(step_end=['= '], answer_prefix='\\n#### ')",
    "sampling": "sampling(max_tokens=120, answer_tokens=4)",
}


def test_exact_labels_are_right_as_far_as_the_solution_is(tmp_path):
    run = Run.create(study_from_dict({**PROBLEMS_WITH_ORACLE, "strategy": "self_consistency(n=4)"}, "s"), tmp_path)
    run.execute()
    wanted = {record.problem.id: record.problem.meta["solution"] for record in run.attempts}
    found = []
    for solution in RunLabels(run, "exact"):
        text = ""
        for step in solution.steps:
            text += step.text
            last = step is solution.steps[-1]
            right = text.rstrip("\n") == wanted[solution.problem] if last else wanted[solution.problem].startswith(text)
            assert step.label == float(right)
            found.append(step.label)
        assert solution.labels[-1] == float(solution.correct)
    assert {0.0, 1.0} == set(found)


def test_exact_labels_are_refused_where_nobody_knows_right_steps(ran):
    with pytest.raises(StudyError, match="knows no right steps, which exact labels are made of"):
        RunLabels(ran("best_of_n(n=2)", problems=1), "exact")
