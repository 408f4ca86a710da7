"""The executor on a real Ray cluster of three nodes: `make test-cluster` (minutes, so not part of `make test`)."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from isoflop.studies.cluster import RayExecutor
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.studies.study_file import study_from_dict

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]  # Ray warns of itself
MEMORY = 100_000_000
PROBLEMS, START_SECONDS = 24, 240


@pytest.fixture(scope="module")
def cluster():
    """Three nodes with one CPU each. Ray gives a node thirty seconds to come up; on busy cores it may take longer."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": str(START_SECONDS * 1000)}
    import ray
    from ray._private import services
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "get_node", _patient(services.get_node))
        made = Cluster(initialize_head=False)
        _add(made, include_dashboard=False)
        _add(made)
        _add(made)
        yield made
        ray.shutdown()
        made.shutdown()


def _patient(get_node):
    def waiting(*arguments):
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    return waiting


def _add(cluster, **options):
    return cluster.add_node(num_cpus=1, object_store_memory=MEMORY, **options)


def declared(tmp_path, model="scripted(skill=0.7)", **fields):
    path = tmp_path / "problems.jsonl"
    rows = (f'{{"id": "{n}", "question": "Is it {n}?", "answer": "{n}"}}\n' for n in range(PROBLEMS))
    path.write_text("".join(rows))
    strategies = ("greedy()", "self_consistency(n=4)", "weighted_vote(n=8)", "rebase(width=4)")
    sampling = "sampling(max_tokens=40, answer_tokens=6)"
    arms = [Arm.of(model=model, strategy=one, prompt="plain()", sampling=sampling) for one in strategies]
    return Study(f"jsonl(path='{path}')", arms, concurrency=4, **fields)


def but_seconds(record):
    """Log-probabilities are compared apart: the batch's shape changes their last digits in float32."""
    nodes = sorted((node.path, node.step.text, node.step.tokens, node.step.end) for node in record.nodes)
    flops = [(cost.flops, cost.new_tokens) for cost in record.charged.values()]
    return record.arm, record.problem.id, record.answer, record.outcome, nodes, flops


def logprobs(run):
    nodes = [sorted((node.path, node.step.logprobs) for node in record.nodes) for record in run.attempts]
    return [value for record in nodes for _, values in record for value in values]


def alone(study, tmp_path):
    run = Run.create(study, tmp_path / "alone")
    run.execute()
    return [but_seconds(one) for one in run.attempts]


def test_one_process_and_three_nodes_give_the_same_records(cluster, tmp_path, tiny_llama_folder):
    for name, model in (
        ("scripted", "scripted(skill=0.7)"),
        ("local", f"local({str(tiny_llama_folder)!r}, context_tokens=256, memory_gb=0.02, threads=1)"),
    ):
        (tmp_path / name).mkdir()
        study = declared(tmp_path / name, model)
        run, seen = Run.create(study, tmp_path / name / "ray"), []
        run.execute(
            lambda progress, seen=seen: seen.append(progress.done),
            progress_seconds=0.0,
            executor=RayExecutor(cluster.address),
        )
        assert [but_seconds(one) for one in run.attempts] == alone(study, tmp_path / name)
        assert logprobs(run) == pytest.approx(logprobs(Run.open(tmp_path / name / "alone")), abs=1e-4)
        assert len(seen) > 10  # records arrive live


def test_a_node_that_is_killed_in_the_middle_loses_and_repeats_nothing(cluster, tmp_path):
    study = declared(tmp_path, "scripted(skill=0.7, sleep_seconds=0.05)")
    run, killed, seen = Run.create(study, tmp_path / "ray"), [], []

    def kill(progress):
        seen.append(progress.done)
        if progress.done >= 10 and not killed:
            killed.append(True)
            cluster.remove_node(list(cluster.worker_nodes)[-1], allow_graceful=False)

    run.execute(kill, progress_seconds=0.0, executor=RayExecutor(cluster.address))
    assert killed
    _add(cluster)
    assert [but_seconds(one) for one in run.attempts] == alone(study, tmp_path)
    assert seen[:-1] == sorted(set(seen[:-1]))


def test_a_worker_that_is_out_of_memory_is_replaced(cluster, tmp_path):
    """As the system's out-of-memory killer does: SIGKILL to the worker's process."""
    study = declared(tmp_path, "scripted(skill=0.7, sleep_seconds=0.05)")
    run, killed = Run.create(study, tmp_path / "ray"), []

    def kill(progress):
        if progress.done >= 10 and not killed:
            killed.append(_workers(cluster)[0])
            killed[0].kill()

    run.execute(kill, progress_seconds=0.0, executor=RayExecutor(cluster.address))
    assert killed
    assert [but_seconds(one) for one in run.attempts] == alone(study, tmp_path)


def _workers(cluster):
    """The processes of this cluster's workers."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    children = [child for raylet in raylets for child in psutil.Process(raylet).children(recursive=True)]
    return [child for child in children if "ray::Worker" in " ".join(child.cmdline())]


def test_a_driver_that_is_killed_is_resumed(cluster, tmp_path):
    study = declared(tmp_path, "scripted(skill=0.7, sleep_seconds=0.05)")
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent(f"""
        import json
        from isoflop.studies.cluster import RayExecutor
        from isoflop.studies.run import Run
        from isoflop.studies.study_file import study_from_dict
        study = study_from_dict({study.to_dict()!r}, "driver")
        run = Run.create(study, {str(tmp_path / "ray")!r})
        run.execute(lambda p: print(p.done, flush=True), progress_seconds=0.0,
                    executor=RayExecutor({cluster.address!r}))
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip().isdigit() and int(line) >= 10:  # Ray tells of its nodes on the same stream
                process.send_signal(signal.SIGKILL)
                break
    run = Run.create(study_from_dict(study.to_dict(), "test"), tmp_path / "ray")
    before = {(one.arm, one.problem.id): one.seconds for one in run.attempts}
    assert 10 <= len(before) < 4 * PROBLEMS
    time.sleep(1)
    run.execute(executor=RayExecutor(cluster.address))
    after = {(one.arm, one.problem.id): one.seconds for one in run.attempts}
    assert all(after[key] == seconds for key, seconds in before.items())
    assert [but_seconds(one) for one in run.attempts] == alone(study, tmp_path)
    assert [session["state"] for session in run.sessions] == ["killed", "ended"]
