"""A run on several processes is the run of one; a kill of a worker or of the driver loses and repeats nothing."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from dying_engine import Dying
from spread_study import ATTEMPTS, but_seconds, spread_study

from isoflop.errors import EngineError, ModelError
from isoflop.studies import processes
from isoflop.studies.processes import ProcessExecutor
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.studies.study_file import load_study

TWO = ProcessExecutor(workers=2)
SLOW = ", sleep_seconds=0.004"  # so that something is under way when the kill comes


def alone(study, folder):
    run = Run.create(study, folder / "alone")
    run.execute()
    return [but_seconds(one) for one in run.attempts]


def test_the_records_are_those_of_one_process(tmp_path):
    study = spread_study(tmp_path)
    together, seen = Run.create(study, tmp_path / "together"), []
    progress = together.execute(lambda p: seen.append(p.done), progress_seconds=0.0, executor=TWO)
    assert progress.done == progress.total == ATTEMPTS
    assert [but_seconds(one) for one in together.attempts] == alone(study, tmp_path)
    assert seen == [*range(1, ATTEMPTS + 1), ATTEMPTS]  # one by one, as they arrive
    assert not together.lost
    assert together.sessions[0]["hardware"].endswith("; 2 processes")
    assert not multiprocessing.active_children()
    assert together.execute(executor=TWO).done == ATTEMPTS  # nothing is left to do, and nobody is hired for it


def test_a_worker_that_is_killed_is_replaced_and_its_work_done_again(tmp_path):
    study = spread_study(tmp_path, SLOW)
    run, killed, seen = Run.create(study, tmp_path / "run"), [], []

    def kill(progress):
        seen.append(progress.done)
        if progress.done >= 10 and not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    run.execute(kill, progress_seconds=0.0, executor=TWO)
    assert killed
    assert seen == [*range(1, ATTEMPTS + 1), ATTEMPTS]
    assert [but_seconds(one) for one in run.attempts] == alone(study, tmp_path)


def driver(study, folder):
    """A process that runs the study, says so after ten attempts, and then does nothing but wait for its end."""
    script = f"""
import sys
from isoflop.studies.processes import ProcessExecutor
from isoflop.studies.run import Run
from isoflop.studies.study_file import study_from_dict

def wait(progress):
    if progress.done == 10:
        print("ten", flush=True)
        sys.stdin.read()

if __name__ == "__main__":
    run = Run.create(study_from_dict({study.to_dict()!r}, "driver"), {str(folder)!r})
    run.execute(wait, progress_seconds=0.0, executor=ProcessExecutor(2))
"""
    file = folder.with_suffix(".py")
    file.write_text(script)
    return subprocess.Popen([sys.executable, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_driver_that_is_killed_takes_its_workers_along_and_the_run_goes_on(tmp_path):
    study, folder = spread_study(tmp_path, SLOW), tmp_path / "run"
    with driver(study, folder) as process:
        assert process.stdout.readline() == "ten\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    run = Run.create(study, folder)
    before = {(one.arm, one.problem.id, one.seed): one.seconds for one in run.attempts}
    assert len(before) == 10
    run.execute(executor=TWO)
    after = {(one.arm, one.problem.id, one.seed): one.seconds for one in run.attempts}
    assert all(after[key] == seconds for key, seconds in before.items())
    assert [but_seconds(one) for one in run.attempts] == alone(study, tmp_path)
    assert [session["state"] for session in run.sessions] == ["killed", "ended"]


def test_ctrl_c_ends_driver_and_workers_quietly_and_says_how_to_go_on(tmp_path):
    file, folder = tmp_path / "study.toml", tmp_path / "run"
    file.write_text(
        f"problems = \"{spread_study(tmp_path).problems}\"\nmodel = 'scripted(sleep_seconds=0.5)'\n"
        "strategy = ['greedy()', 'rebase(width=4)']\nconcurrency = 1\nseeds = [0, 1, 2, 3]\n"
    )
    run = Run.create(load_study(file), folder)
    command = [sys.executable, "-m", "isoflop", "study", "run", str(file), "--out", str(folder), "--workers", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until(lambda: len(list(run.attempts)) >= 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "go on with: isoflop study run" in said
    assert [session["state"] for session in run.sessions] == ["ended"]


@pytest.mark.parametrize(
    ("when", "error", "said"),
    [
        ("refuse", ModelError, r"^'nowhere' is no model$"),
        (
            "open",
            EngineError,
            r"workers have died before they had an engine open, the last one so: process \d+ ended with exit code 3",
        ),
        ("poll", EngineError, r"5 workers have died with problem .* the last one so: process \d+ ended with SIGKILL"),
        ("raise", EngineError, r"a worker has failed:\n(.|\n)*RuntimeError: on purpose"),
    ],
)
def test_work_that_kills_its_workers_ends_the_run_with_the_reason(tmp_path, when, error, said):
    problems = spread_study(tmp_path).problems
    run = Run.create(
        Study(problems, [Arm.of(model=Dying(when), strategy="greedy()", prompt="plain()")]), tmp_path / "run"
    )
    with pytest.raises(error, match=said):
        run.execute(executor=TWO)
    assert not multiprocessing.active_children()


def test_a_worker_has_its_share_of_the_cores_and_never_sees_a_ctrl_c(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    code = (
        "import os, signal; print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'], "
        "signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    with processes._as_a_worker_finds_it(threads=3):
        found = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert found.split() == ["3", "7", "True"]
    assert "OMP_NUM_THREADS" not in os.environ
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
