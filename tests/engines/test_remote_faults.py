"""A study on a server that misbehaves goes on or stops with a clear error, loses nothing, repeats nothing finished."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from fake_openai import FakeServer
from faulty_proxy import FaultyProxy

from isoflop.errors import EngineError, ModelError, SpecError
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study

KEY = "sk-this-must-never-show"


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "question": "Is it {n}?", "answer": "{n}"}}\n' for n in range(6)))
    return f"jsonl(path='{path}')"


@pytest.fixture(params=["vllm", "llamacpp"])
def server(request, tiny_llama_folder):
    with FakeServer(tiny_llama_folder, request.param) as made:
        yield made


def study(url, folder, problems, strategies=("rebase(width=3)",), **fields):
    settings = "".join(f", {key}={value!r}" for key, value in fields.items())
    model = f"remote({url!r}, 'toy', tokenizer={str(folder)!r}{settings})"
    sampling = "sampling(max_tokens=24, answer_tokens=4)"
    arms = [Arm.of(model=model, strategy=one, prompt="plain()", sampling=sampling) for one in strategies]
    return Study(problems, arms)


def keys(run):
    return [(record.arm, record.problem.id) for record in run.attempts]


def _written(record):
    return {node.path: (node.step.text, node.step.tokens, node.step.end) for node in record.nodes}


PLENTY = ["", "429:0.05", "drop", "500", "half", "503", "drop", "", "half", "429", "502", "half"]  # the probe passes


def test_faults_that_may_be_repeated_cost_nothing_and_change_nothing(server, tiny_llama_folder, problems, tmp_path):
    """The same attempts as without faults: a repeat has the same seed. Only what was delivered is on the books."""
    with FaultyProxy(server.url) as proxy:
        clean = Run.create(study(proxy.url, tiny_llama_folder, problems), tmp_path / "clean")
        clean.execute()
        delivered = proxy.passed
        proxy.passed, proxy.faults = 0, list(PLENTY)
        spoilt = Run.create(study(proxy.url, tiny_llama_folder, problems), tmp_path / "spoilt")
        progress = spoilt.execute()
        assert proxy.faults == []
        # Half a stream may hold all that was wanted of it.
        assert proxy.passed == delivered if server.dialect == "vllm" else proxy.passed <= delivered
    assert progress.errors == clean.status().errors  # the toy hides log-probabilities as llama.cpp does
    for a, b in zip(clean.attempts, spoilt.attempts, strict=True):
        assert _written(a) == _written(b)
        assert a.charged_total.flops == b.charged_total.flops
        assert a.spent_total.new_tokens == b.spent_total.new_tokens


def test_a_hang_fails_its_own_attempt_alone_and_is_not_repeated(server, tiny_llama_folder, problems, tmp_path):
    declared = study("$HANGING", tiny_llama_folder, problems, ["greedy()"], timeout_seconds=4.0)
    with FaultyProxy(server.url) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HANGING", proxy.url)
        # The probe goes through; of the six problems' first calls one hangs.
        proxy.faults = ["", "", "hang"]
        run = Run.create(declared, tmp_path / "run")
        progress = run.execute()
        assert progress.errors == 1
        [failed] = [record for record in run.attempts if record.failed]
        assert "took longer than timeout_seconds=4; it is not asked again" in failed.message
        assert failed.spent_total.new_tokens == 0
        progress = run.execute(retry_errors=True)
    assert progress.errors == 0
    assert len(keys(run)) == len(set(keys(run))) == 6


def test_a_server_that_goes_away_is_waited_for_and_the_study_goes_on(tiny_llama_folder, problems, tmp_path):
    first = FakeServer(tiny_llama_folder, seconds_per_token=0.01)
    declared = study(first.url, tiny_llama_folder, problems, patience_seconds=20.0)
    run, again = Run.create(declared, tmp_path / "run"), []

    def restart():
        while first.counted["new"] < 30:
            time.sleep(0.005)
        first.close()
        time.sleep(0.5)
        again.append(FakeServer(tiny_llama_folder, port=first.port))

    thread = threading.Thread(target=restart)
    thread.start()
    progress = run.execute()
    thread.join()
    again[0].close()
    assert again[0].counted["new"] > 0
    assert progress.errors == 0
    assert len(keys(run)) == len(set(keys(run))) == 6


def test_a_server_that_stays_away_stops_the_study_which_then_resumes(tiny_llama_folder, problems, tmp_path):
    first = FakeServer(tiny_llama_folder, seconds_per_token=0.005)
    declared = study(first.url, tiny_llama_folder, problems, ["greedy()", "rebase(width=3)"], patience_seconds=3.0)
    run = Run.create(declared, tmp_path / "run")
    stored = []

    def stop(progress):
        if progress.done >= 4 and not stored:
            stored.append(progress.done)
            first.close()

    with pytest.raises(EngineError, match=r"cannot be reached .* tries in .* same command goes on"):
        run.execute(stop, progress_seconds=0.0)
    before = {(r.arm, r.problem.id): r.nodes for r in run.attempts}
    assert 4 <= len(before) < 12
    assert run.lost
    with FakeServer(tiny_llama_folder, port=first.port):
        run.execute()
    after = {(r.arm, r.problem.id): r.nodes for r in run.attempts}
    assert len(after) == 12
    assert all(after[key] == nodes for key, nodes in before.items())


def test_the_api_key_is_used_and_never_shown(tiny_llama_folder, problems, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    with FakeServer(tiny_llama_folder, key=KEY) as server:
        declared = study(server.url, tiny_llama_folder, problems, key_variable="MY_KEY")
        Run.create(declared, tmp_path / "run").execute(print)
        assert server.authorizations == {f"Bearer {KEY}"}
        monkeypatch.setenv("MY_KEY", "wrong-" + KEY)
        with pytest.raises(EngineError, match=r"401: .*\*\*\*; set the API key in the environment variable") as caught:
            declared.arms[0].engine.open()
    told = capfd.readouterr()
    assert KEY not in str(caught.value) + caplog.text + told.out + told.err + repr(declared)
    for path in (tmp_path / "run").rglob("*"):
        assert KEY.encode() not in path.read_bytes()


def test_no_key_is_sent_where_none_is_named(server, tiny_llama_folder, problems, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    Run.create(study(server.url, tiny_llama_folder, problems), tmp_path / "run").execute()
    assert server.authorizations == {None}


def test_another_model_in_the_middle_of_a_study_stops_it(server, tiny_llama_folder, problems, tmp_path):
    run = Run.create(study(server.url, tiny_llama_folder, problems), tmp_path / "run")

    def swap(progress):
        server.model = "another"

    with pytest.raises(EngineError, match="404: The model `toy` does not exist"):
        run.execute(swap, progress_seconds=0.0)
    with pytest.raises(ModelError, match="does not serve model='toy'"):
        run.execute()
    server.model = "toy"
    assert run.execute().done == 6


@pytest.mark.parametrize(
    ("dialect", "fields", "strategies", "reason"),
    [
        ("bare", {}, ["greedy()", "mcts(simulations=2)"], "log-probabilities, and this engine gives none"),
        ("bare", {}, ["greedy()", "weighted_vote(n=2)"], "rewarded by the tokens' log-probabilities"),
        ("openai", {"api": "chat"}, ["greedy()", "rebase(width=2)"], "goes on from partial solutions"),
    ],
)
def test_what_an_engine_lacks_is_refused_before_the_first_attempt(
    tiny_llama_folder, problems, tmp_path, dialect, fields, strategies, reason
):
    with FakeServer(tiny_llama_folder, dialect) as server:
        run = Run.create(study(server.url, tiny_llama_folder, problems, strategies, **fields), tmp_path / "run")
        with pytest.raises(SpecError, match=reason):
            run.execute()
    assert keys(run) == []
