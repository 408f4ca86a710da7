"""Timing: each arm alone, repeats interleaved, latency and throughput apart; measured on an engine of known speed."""

import json
from pathlib import Path
from typing import Any

import pytest

from isoflop.errors import StudyError
from isoflop.studies import timing as timing_module
from isoflop.studies.spec import Study
from isoflop.studies.study_file import study_from_dict
from isoflop.studies.timing import time_study

SLEEP = 0.004


def study_of(folder: Path, **more: object) -> Study:
    path = folder / "problems.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"How much is {i}?", "answer": str(i)}) for i in range(8)))
    declared = {"problems": f"jsonl(path={str(path)!r})", "model": f"scripted(sleep_seconds={SLEEP})"}
    return study_from_dict({**declared, "strategy": ["greedy()", "rebase(width=2)"], **more}, "study.toml")


def test_latency_is_of_one_alone_and_throughput_of_many(tmp_path: Path) -> None:
    said: list[str] = []
    timing = time_study(study_of(tmp_path), problems=8, repeats=2, concurrency=8, progress=said.append)
    greedy, rebase = timing.arms
    assert (timing.problems, timing.repeats, timing.concurrency) == (8, 2, 8)
    # A greedy solution is one poll, each poll sleeps; rebase takes one for each of three steps and one for the answer.
    assert SLEEP <= greedy.latency_p50_seconds <= greedy.latency_p95_seconds
    assert rebase.latency_p50_seconds >= 4 * SLEEP
    # Eight at once share a poll: many more than one for each latency.
    assert greedy.problems_per_second > 2 / greedy.latency_p50_seconds
    assert len(greedy.problems_per_second_by_repeat) == 2
    assert greedy.new_tokens_per_second > 0
    assert json.loads(json.dumps(timing.to_dict()))["arms"][1]["label"] == "rebase(width=2)"
    # Repeats go round the arms, after one warm-up each.
    assert said[2:] == [f"{arm}: repeat {n} of 2" for n in (1, 2) for arm in ("greedy()", "rebase(width=2)")]


def test_engines_take_turns_so_that_a_slow_minute_slows_all(tmp_path: Path) -> None:
    said: list[str] = []
    slower = {"name": "slower", "model": f"scripted(sleep_seconds={2 * SLEEP})", "strategy": "greedy()"}
    study = study_of(tmp_path, strategy=None, arms=[{"name": "first", "strategy": "greedy()"}, slower])
    timing = time_study(study, problems=2, repeats=2, progress=said.append)
    measured = [text for text in said if "repeat" in text]
    assert measured == [f"{arm}: repeat {n} of 2" for n in (1, 2) for arm in ("first", "slower")]
    assert [len(arm.problems_per_second_by_repeat) for arm in timing.arms] == [2, 2]


def test_latency_may_be_taken_of_the_first_problems_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempted, attempts = [], timing_module._attempts

    def noted(study: Any, bench: Any, arm: Any, problems: Any, engine: Any, concurrency: int) -> Any:
        attempted.append((len(problems), concurrency))
        return attempts(study, bench, arm, problems, engine, concurrency)

    monkeypatch.setattr(timing_module, "_attempts", noted)
    timing = time_study(study_of(tmp_path), problems=6, alone=2, repeats=1, concurrency=3)
    warm_up, measured = (1, 3), [(2, 1), (6, 3)]
    assert attempted == [warm_up] * 2 + measured * 2
    assert timing.problems == 6
    with pytest.raises(StudyError, match="alone=0"):
        time_study(study_of(tmp_path), alone=0)


def test_a_failing_arm_has_no_timing(tmp_path: Path) -> None:
    study = study_of(tmp_path, model="scripted(broken=['problems/test/1'])")
    with pytest.raises(StudyError, match=r"greedy\(\) failed on problem 'problems/test/1': .*broken"):
        time_study(study, problems=2, repeats=1)
    with pytest.raises(StudyError, match="must be at least 1"):
        time_study(study, repeats=0)
