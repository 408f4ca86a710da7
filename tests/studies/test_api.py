"""What a notebook calls, and that importing it costs nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import isoflop
from isoflop.core import Outcome
from isoflop.engines.scripted import Scripted
from isoflop.errors import StudyError


def test_every_public_name_is_there() -> None:
    assert all(getattr(isoflop, name) is not None for name in isoflop.__all__)
    assert set(isoflop.__all__) <= set(dir(isoflop))
    with pytest.raises(AttributeError, match=r"no attribute 'comparee'; it has .*compare"):
        _ = isoflop.comparee


def test_importing_loads_neither_torch_nor_anything_slow() -> None:
    script = (
        "import sys, time; start = time.perf_counter(); import isoflop; first = time.perf_counter() - start;"
        "isoflop.compare, isoflop.solve; heavy = {'torch', 'transformers', 'matplotlib', 'pandas', 'scipy', 'sympy'};"
        "print(first, sorted(heavy & set(sys.modules)))"
    )
    seconds, _, heavy = subprocess.check_output([sys.executable, "-c", script], text=True).partition(" ")
    assert heavy.strip() == "[]"
    assert float(seconds) < 0.3


def test_solve_answers_one_question() -> None:
    attempt = isoflop.solve("How much is 7?", model="scripted()", strategy="rebase(width=4)", gold="7")
    assert attempt.outcome in (Outcome.CORRECT, Outcome.WRONG)
    assert len(attempt.candidates) == 4
    assert isoflop.solve("How much?", model="scripted()").outcome is Outcome.UNGRADED


def test_solve_takes_an_open_engine_and_leaves_it_open() -> None:
    engine = Scripted().open()
    answers = [isoflop.solve("How much is 7?", model=engine, gold="7", seed=seed).answer for seed in (0, 0)]
    assert answers[0] == answers[1]
    assert engine.counted_new_tokens > 0


def test_compare_runs_a_study_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"question": f"How much is {i}?", "answer": str(i)}) for i in range(3)]
    Path("problems.jsonl").write_text("\n".join(rows))
    declared = {
        "model": ["scripted()", Scripted(skill=0.99)],
        "problems": "jsonl(path='problems.jsonl')",
        "strategies": ["greedy()", "rebase(width=[2, 4])"],
        "budget": isoflop.Budget(tokens=2000),
    }
    run = isoflop.compare(**declared)
    assert run.folder == Path("runs") / f"comparison-{run.study.hash}"
    assert len(list(run.attempts)) == 2 * 3 * 3
    assert [arm["strategy"] for arm in run.table().to_dict()["arms"]] == list(run.study.labels)
    seconds = [record.seconds for record in run.attempts]
    assert [record.seconds for record in isoflop.compare(**declared).attempts] == seconds
    with pytest.raises(StudyError, match="did you mean 'greedy'"):
        isoflop.compare(**{**declared, "strategies": "gredy()"})
