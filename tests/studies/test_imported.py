"""Others' samples: votes, best-of and pass@k at every k, without generating anything."""

import json
from pathlib import Path

import pytest

from isoflop.core import Outcome, Stop
from isoflop.errors import ProblemError
from isoflop.studies.imported import imported_study
from isoflop.studies.run import Run

ANSWERS = {"a": ["3", "4", "4", "3"], "b": ["7", "8", "8", "8"]}
GOLD = {"a": "4", "b": "7"}


def samples(folder: Path, **extra: list[object]) -> str:
    """Four samples for each of two problems; `extra` names further columns, a value a sample."""
    path = folder / "samples.jsonl"
    rows = [
        {"id": key, "question": f"What is {key}?", "answer": GOLD[key], "sample": f"The answer is {answer}"}
        | {name: values[place] for name, values in extra.items()}
        for key, answers in ANSWERS.items()
        for place, answer in enumerate(answers)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def run_of(folder: Path, path: str, *strategies: str) -> Run:
    run = Run.create(imported_study(path, strategies), folder / "run")
    run.execute()
    return run


def test_majority_votes_at_every_power_of_two(tmp_path: Path) -> None:
    run = run_of(tmp_path, samples(tmp_path))
    assert run.study.labels == ("self_consistency(n=1)", "self_consistency(n=2)", "self_consistency(n=4)")
    first = {record.problem.id: record.answer for record in run.attempts if record.arm == "self_consistency(n=1)"}
    assert first == {"a": "3", "b": "7"}
    four = {record.problem.id: record for record in run.attempts if record.arm == "self_consistency(n=4)"}
    assert four["a"].tied == ("3", "4")  # two each: drawn by seeded chance and said so
    assert (four["b"].answer, four["b"].outcome) == ("8", Outcome.WRONG)
    assert [c.outcome is Outcome.CORRECT for c in four["b"].candidates] == [
        True,
        False,
        False,
        False,
    ]  # pass@k's counts


def test_imported_rewards_choose(tmp_path: Path) -> None:
    path = samples(tmp_path, reward=[0.1, 0.9, 0.2, 0.3])
    run = run_of(tmp_path, path, "best_of_n(n=4)", "weighted_vote(n=4)")
    best = {record.problem.id: record.answer for record in run.attempts if record.arm == "best_of_n(n=4)"}
    assert best == {"a": "4", "b": "8"}


def test_imported_logprobs_serve_as_reward_and_count_tokens(tmp_path: Path) -> None:
    path = samples(tmp_path, logprobs=[[-2.0, -2.0], [-0.1], [-3.0], [-4.0]])
    run = run_of(tmp_path, path)
    assert "best_of_n(n=4)" in run.study.labels
    [record] = [r for r in run.attempts if r.arm == "best_of_n(n=4)" and r.problem.id == "a"]
    assert record.answer == "4"
    assert record.charged_total.new_tokens == 5
    assert record.charged_total.flops == 0


def test_more_samples_than_there_are_is_an_error_of_the_attempt(tmp_path: Path) -> None:
    record = next(run_of(tmp_path, samples(tmp_path), "self_consistency(n=8)").attempts)
    assert record.stop is Stop.ERROR
    assert record.message == "problem 'a' has 4 imported samples and more are asked for"


def test_a_search_cannot_go_on_from_a_finished_sample(tmp_path: Path) -> None:
    path = samples(tmp_path, reward=[0.1, 0.9, 0.2, 0.3])
    with pytest.raises(ValueError, match="goes on from partial solutions"):
        run_of(tmp_path, path, "rebase(width=2)")


def test_there_is_no_dev(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="has no dev"):
        imported_study(samples(tmp_path)).problems.load("dev")
