"""SIGKILL at random, fifty times: nothing finished is lost or made twice, lost work is booked, only seconds differ."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from isoflop.studies.record import Record
from isoflop.studies.run import Run
from isoflop.studies.store import Store, exists
from isoflop.studies.study_file import load_study

KILLS = 50
Key = tuple[str, str, int]
STUDY = """
problems = "jsonl(path='{path}')"
model = "scripted(tokens_per_poll=4, sleep_seconds=0.001)"
reward = "logprob()"
strategy = [
  "greedy()", "self_consistency(n=[2, 4])", "weighted_vote(n=4)", "adaptive_consistency(max_n=4)",
  "beam(width=2, expand=2)", "rebase(width=4)", "mcts(simulations=3)",
]
seeds = [0, 1]
concurrency = 4
"""


def study_in(folder: Path, problems: int) -> Path:
    rows = [json.dumps({"question": f"How much is {i} and 0?", "answer": str(i)}) for i in range(problems)]
    (folder / "problems.jsonl").write_text("\n".join(rows))
    (folder / "study.toml").write_text(STUDY.format(path=folder / "problems.jsonl"))
    return folder / "study.toml"


def run_and_kill(study_file: Path, folder: Path, after_seconds: float) -> bool:
    """Whether the process was killed at work; False where it had finished before."""
    driver = Path(__file__).with_name("kill_driver.py")
    command = [sys.executable, str(driver), str(study_file), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(after_seconds)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def finished(folder: Path) -> dict[Key, tuple[float, str]]:
    """Every stored attempt with its seconds, which no second making of it would repeat."""
    if not exists(folder):
        return {}
    with Store.reader(folder) as store:
        return {(r.arm, r.problem.id, r.seed): (r.seconds, r.outcome) for r in store.records()}


def all_but_seconds(run: Run) -> dict[Key, tuple[object, ...]]:
    return {(record.arm, record.problem.id, record.seed): _all_but_seconds(record) for record in run.attempts}


def _all_but_seconds(record: Record) -> tuple[object, ...]:
    books = [
        {role: replace(cost, seconds=0.0) for role, cost in book.items()} for book in (record.spent, record.charged)
    ]
    verdict = (record.stop, record.message, record.outcome, record.answer, record.chosen, record.tied)
    return (*verdict, record.candidates, record.nodes, books, record.prompt_text)


def test_fifty_kills_lose_and_repeat_nothing_finished_and_change_nothing_but_seconds(tmp_path: Path) -> None:
    study_file = study_in(tmp_path, problems=20)
    whole = Run.create(load_study(study_file), tmp_path / "whole")
    whole.execute()
    expected = all_but_seconds(whole)
    chance = random.Random(0)
    kills, round_, lost_tokens = 0, 0, 0
    while kills < KILLS:  # on a fast machine one run is done before the fiftieth kill: then it starts afresh
        folder = tmp_path / f"killed-{round_}"
        seen: dict[Key, tuple[float, str]] = {}
        while kills < KILLS and run_and_kill(study_file, folder, chance.uniform(0.0, 0.25)):
            kills += 1
            now = finished(folder)
            assert {key: now.get(key) for key in seen} == seen
            seen = now
        Run.create(load_study(study_file), folder).execute()
        run = Run.open(folder)
        assert {key: finished(folder)[key] for key in seen} == seen
        assert all_but_seconds(run) == expected
        assert all(not session["in_flight"] for session in run.sessions)
        lost_tokens += sum(cost.new_tokens for cost in run.lost.values())
        round_ += 1
    assert lost_tokens > 0  # how exactly it is booked: test_run.py, where the engine can be asked
