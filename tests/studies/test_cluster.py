"""A run by many workers is the run by one process; workers that die lose nothing and repeat nothing delivered.

The executor's book-keeping on a stand-in for Ray, in seconds; the same on a real Ray cluster of three nodes in
`test_ray.py` (`make test-cluster`).
"""

import sys
from types import SimpleNamespace

import pytest
from fake_openai import FakeServer
from fake_ray import FakeRay
from spread_study import but_seconds, spread_study

from isoflop.errors import EngineError, MissingExtraError, SpecError, StudyError
from isoflop.studies import cluster
from isoflop.studies.cluster import RayExecutor
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study


@pytest.fixture
def declared(tmp_path):
    return spread_study(tmp_path)


def ray(monkeypatch, **options):
    fake = FakeRay(**options)
    monkeypatch.setattr(cluster, "_ray", lambda address: fake)
    return fake


def test_the_records_are_those_of_one_process(declared, tmp_path, monkeypatch):
    alone, together = Run.create(declared, tmp_path / "alone"), Run.create(declared, tmp_path / "together")
    alone.execute()
    ray(monkeypatch)
    progress = together.execute(executor=RayExecutor())
    assert progress.done == progress.total == 160
    assert [but_seconds(one) for one in alone.attempts] == [but_seconds(one) for one in together.attempts]
    assert not together.lost
    assert "3 workers of 1 CPUs and 0 GPUs" in together.sessions[0]["hardware"]


@pytest.mark.parametrize("die_after", [[1, None, None], [0, 2, 3], [2, 3, 4, 1, 5], [1, 1, 1]])
def test_workers_that_die_lose_nothing_and_nothing_is_made_twice(declared, tmp_path, monkeypatch, die_after):
    alone, together = Run.create(declared, tmp_path / "alone"), Run.create(declared, tmp_path / "together")
    alone.execute()
    fake = ray(monkeypatch, die_after=die_after)
    seen = []
    together.execute(lambda progress: seen.append(progress.done), progress_seconds=0.0, executor=RayExecutor())
    assert fake.hired == 3 + sum(fate is not None for fate in die_after)
    assert [but_seconds(one) for one in alone.attempts] == [but_seconds(one) for one in together.attempts]
    assert seen == [*range(1, 161), 160]  # each delivered attempt once


def test_work_that_kills_every_worker_stops_the_run_which_goes_on_later(declared, tmp_path, monkeypatch):
    run = Run.create(declared, tmp_path / "run")
    ray(monkeypatch, die_after=[2] + [1] * 1000, nodes=1)
    with pytest.raises(EngineError, match=r"5 workers have died with problem .* among their work"):
        run.execute(executor=RayExecutor())
    ray(monkeypatch)
    assert run.execute(executor=RayExecutor()).done == 160


def test_what_does_not_fit_is_refused(declared, tmp_path, monkeypatch, tiny_llama_folder):
    run = Run.create(declared, tmp_path / "run")
    ray(monkeypatch)
    with pytest.raises(StudyError, match="no node of the Ray cluster holds a worker of 4 CPUs"):
        run.execute(executor=RayExecutor(cpus=4))
    with FakeServer(tiny_llama_folder, "bare") as server:
        model = f"remote({server.url!r}, 'toy', tokenizer={str(tiny_llama_folder)!r})"
        arms = [Arm.of(model=model, strategy=one, prompt="plain()") for one in ("greedy()", "mcts(simulations=2)")]
        unfit = Run.create(Study(declared.problems, arms), tmp_path / "unfit")
        fake = ray(monkeypatch)
        with pytest.raises(SpecError, match="this engine gives none"):
            unfit.execute(executor=RayExecutor())
    assert list(unfit.attempts) == []
    assert fake.killed == 3


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:9", "Connection refused"), ("auto", "Could not find any running Ray instance")],
)
def test_a_cluster_that_is_not_there_is_named_at_once(declared, tmp_path, monkeypatch, address, reason):
    """Ray itself tries an address where nobody listens for many minutes."""

    def init(**_):
        raise ConnectionError("Could not find any running Ray instance. Please specify the one to connect to.")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    run = Run.create(declared, tmp_path / "run")
    with pytest.raises(StudyError, match=f"no Ray cluster at '{address}': .*{reason}.*; start one with `ray start"):
        run.execute(executor=RayExecutor(address))


def test_ray_is_an_extra(declared, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs Ray .*pip install 'isoflop\[ray\]'"):
        Run.create(declared, tmp_path / "run").execute(executor=RayExecutor())
