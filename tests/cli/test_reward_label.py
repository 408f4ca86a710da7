"""`isoflop reward label` as a user meets it: drawn now, killed, resumed, read off a run, and what it refuses."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from isoflop.reward_training.labels import read_labels
from isoflop.studies.run import Run
from isoflop.studies.store import exists

MODEL = ["--model", "scripted(steps=3)"]


@pytest.fixture
def drawing(questions):
    return ["reward", "label", *MODEL, "--problems", f"jsonl('{questions}')", "--split", "test", "--solutions", "2"]


def test_outcome_labels_are_drawn_counted_and_written_into_the_run(isoflop, drawing, tmp_path):
    code, out, err = isoflop(*drawing, "--out", "run", "--json")
    assert code == 0, err
    assert "planned: 6 attempts, " in err
    said = json.loads(out.splitlines()[-1])
    solutions = list(read_labels(tmp_path / "run" / "labels.jsonl"))
    assert said["solutions"] == len(solutions) == 12
    assert said["steps"] == said["labelled_steps"] == sum(len(solution.steps) for solution in solutions)
    assert said["share_right"] == sum(solution.correct for solution in solutions) / 12
    assert said["cost"]["new_tokens"] > 0
    assert f"{said['share_right']:.1%}".rstrip("%") in out
    assert "labels: run/labels.jsonl" in out


def test_the_same_command_makes_no_attempt_twice_and_a_run_is_relabelled(isoflop, drawing, tmp_path):
    drawing += ["--completions", "2", "--out", "run"]
    _, first, _ = isoflop(*drawing)
    hard = (tmp_path / "run" / "labels.jsonl").read_text()
    code, again, err = isoflop(*drawing)
    assert (code, again) == (0, first)
    assert "planned" not in err
    assert (tmp_path / "run" / "labels.jsonl").read_text() == hard
    assert "labelled (hard)" in first
    _, soft, err = isoflop("reward", "label", "run", "--kind", "soft")
    assert "labelled (soft)" in soft
    assert not err
    code, _, err = isoflop("reward", "label", "run", "--completions", "4")
    assert (code, "labelled as it is" in err) == (2, True)
    assert {solution.kind for solution in read_labels(tmp_path / "run" / "labels.jsonl")} == {"soft"}


def test_what_gave_no_label_is_said_with_the_reason(isoflop, drawing):
    drawing[3] = "scripted(steps=3, broken=['q/test/1'])"
    code, out, err = isoflop(*drawing, "--out", "run")
    assert code == 0
    assert "10 solutions from 6 of 6 attempts" in out
    assert "skipped: 1 failed attempts" in out
    assert "--retry-errors" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--kind", "soft"], "--kind soft is made of completions"),
        (["--kind", "exact"], "which steps are right, and jsonl("),
        (["--kind", "sofd", "--completions", "2"], "did you mean 'soft'?"),
        (["--first-error", "binary"], "add, say, --completions 4"),
        (["--first-error", "halves", "--completions", "2"], "first_error"),
        (["--split", "train"], r"is none of jsonl("),
        (["run"], "give either RUN"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_drawn(isoflop, drawing, tmp_path, more, message):
    code, out, err = isoflop(*drawing, "--out", "drawn", *more)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "drawn").exists()


def test_killed_twice_it_goes_on_to_the_same_labels(isoflop, drawing, tmp_path):
    drawing += ["--completions", "2", "--first-error", "binary", "--concurrency", "2", "--out"]
    isoflop(*drawing, "whole")
    drawing[3] = "scripted(steps=3, tokens_per_poll=2, sleep_seconds=0.02)"
    killed, chance = tmp_path / "killed", random.Random(0)
    for kill in range(2):
        command = [sys.executable, "-m", "isoflop", *drawing, "killed"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while stored(killed) <= kill and process.poll() is None:
                time.sleep(0.05)
            time.sleep(chance.uniform(0.0, 0.05))
            process.kill()
        assert process.returncode == -signal.SIGKILL
    assert not (killed / "labels.jsonl").exists()
    code, out, _ = isoflop(*drawing, "killed")
    assert code == 0
    assert "from 6 of 6 attempts" in out
    assert (killed / "labels.jsonl").read_text() == (tmp_path / "whole" / "labels.jsonl").read_text()
    assert Run.open(killed).lost["policy"].new_tokens > 0


def stored(folder):
    return Run.open(folder).status().done if exists(folder) else 0
