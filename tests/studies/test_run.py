"""Runs: resumed, shared, counted twice over, and the same whatever the concurrency."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from isoflop.core import Outcome, Stop
from isoflop.cost.ledger import ZERO, Ledger
from isoflop.engines.base import Engine, EngineSpec, Generation
from isoflop.engines.scripted import Scripted
from isoflop.engines.wrapped import Wrapped
from isoflop.errors import StoreError, StudyError
from isoflop.studies.progress import Progress
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.studies.study_file import study_from_dict

POOLED = ["self_consistency(n=[2, 4])", "best_of_n(n=4)", "weighted_vote(n=4)"]
ALL = ["greedy()", *POOLED, "adaptive_consistency(max_n=4)", "beam(width=2, expand=2)", "rebase(width=4)"]


@pytest.fixture
def problems(tmp_path: Path) -> str:
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"How much is {i}?", "answer": str(i)}) for i in range(6)))
    return f"jsonl(path={str(path)!r})"


def study_of(problems: str, *strategies: str, model: str = "scripted(tokens_per_poll=9)", **more: object) -> Study:
    return study_from_dict(
        {"problems": problems, "model": model, "strategy": list(strategies or ALL), **more}, "study.toml"
    )


def done(run: Run, **how: object) -> Run:
    run.execute(**how)  # type: ignore[arg-type]
    return run


def all_but_seconds(run: Run) -> dict[tuple[str, str, int], tuple[object, ...]]:
    return {
        (record.arm, record.problem.id, record.seed): (
            record.outcome,
            record.answer,
            record.nodes,
            record.candidates,
            *(
                {role: replace(cost, seconds=0.0) for role, cost in book.items()}
                for book in (record.spent, record.charged)
            ),
        )
        for record in run.attempts
    }


def test_every_arm_meets_every_problem_with_every_seed_once(problems: str, tmp_path: Path) -> None:
    run = done(Run.create(study_of(problems, seeds=[0, 5]), tmp_path / "run"))
    keys = [(record.arm, record.problem.id, record.seed) for record in run.attempts]
    assert len(keys) == len(set(keys)) == len(run.study.arms) * 6 * 2
    status = run.status()
    assert (status.done, status.total, status.errors) == (len(keys), len(keys), 0)
    assert status.arms[0].accuracy == sum(r.correct for r in run.attempts if r.arm == "greedy()") / 12


def test_how_many_run_at_once_changes_nothing_but_seconds(problems: str, tmp_path: Path) -> None:
    runs = [done(Run.create(study_of(problems, concurrency=n), tmp_path / str(n))) for n in (1, 3, 50)]
    expected = all_but_seconds(runs[0])
    assert all_but_seconds(runs[1]) == expected
    assert all_but_seconds(runs[2]) == expected


def test_a_run_that_was_interrupted_goes_on_and_ends_the_same(problems: str, tmp_path: Path) -> None:
    def stop_at(attempts: int) -> Callable[[Progress], None]:
        def progress(now: Progress) -> None:
            if now.done >= attempts:
                raise KeyboardInterrupt

        return progress

    whole = done(Run.create(study_of(problems), tmp_path / "whole"))
    for attempts in (3, 11, 30):
        with pytest.raises(KeyboardInterrupt):
            Run.create(study_of(problems), tmp_path / "parts").execute(stop_at(attempts), progress_seconds=0)
    parts = done(Run.open(tmp_path / "parts"))
    assert all_but_seconds(parts) == all_but_seconds(whole)
    assert [session["state"] for session in parts.sessions] == ["ended"] * 4
    assert parts.lost["policy"].new_tokens > 0
    again = [record.seconds for record in parts.attempts]
    assert [record.seconds for record in done(Run.open(tmp_path / "parts")).attempts] == again  # nothing made twice


@dataclass(frozen=True)
class Counting(EngineSpec):
    """The scripted engine, with what its replies say they took written down beside it."""

    spec_name: ClassVar[str] = "counting"
    ledger: ClassVar[Ledger] = Ledger()

    def open(self) -> Engine:
        return _Counting(Scripted(tokens_per_poll=9).open())


class _Counting(Wrapped):
    def poll(self) -> list[Generation]:
        done = self.inner.poll()
        for generation in done:
            Counting.ledger.charge_all(generation.spent)
        return done


def test_all_that_was_computed_is_on_the_books_also_what_an_interruption_lost(problems: str, tmp_path: Path) -> None:
    def stop(now: Progress) -> None:
        if now.done == 17:
            raise KeyboardInterrupt

    arms = [
        Arm.of(model=Counting(), strategy=name) for name in ("beam(width=2, expand=2)", "best_of_n(n=3)", "greedy()")
    ]
    run = Run.create(Study(problems, arms), tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run.execute(stop, progress_seconds=0)
    run.execute()
    spent = sum((record.spent_total for record in run.attempts), ZERO)
    lost = sum(run.lost.values(), ZERO)
    counted = Counting.ledger.total()
    assert lost.flops > 0
    assert spent.flops + lost.flops == counted.flops
    assert spent.new_tokens + lost.new_tokens == counted.new_tokens


def test_arms_that_draw_the_same_samples_share_them(problems: str, tmp_path: Path) -> None:
    run = done(Run.create(study_of(problems, *POOLED), tmp_path / "run"))
    new_tokens = dict.fromkeys(run.study.labels, 0)
    charged = dict(new_tokens)
    for record in run.attempts:
        new_tokens[record.arm] += record.spent_total.new_tokens
        charged[record.arm] += record.charged_total.new_tokens
    two, four, best, weighted = run.study.labels
    assert new_tokens[best] == new_tokens[weighted] == 0  # the fourfold pool was paid for by the arms declared before
    assert new_tokens[two] + new_tokens[four] == charged[four] == charged[best] == charged[weighted]
    trees = {(r.arm, r.problem.id): [node.step for node in r.nodes if node.depth == 1] for r in run.attempts}
    for problem in run.problems:
        assert trees[four, problem.id][:2] == trees[two, problem.id]
        assert trees[best, problem.id] == trees[four, problem.id] == trees[weighted, problem.id]


def test_sharing_changes_no_result(problems: str, tmp_path: Path) -> None:
    """The naive twin: each arm in a run of its own."""
    shared = all_but_seconds(done(Run.create(study_of(problems, *POOLED), tmp_path / "shared")))
    for number, strategy in enumerate(["self_consistency(n=2)", "self_consistency(n=4)", *POOLED[1:]]):
        alone = all_but_seconds(done(Run.create(study_of(problems, strategy), tmp_path / str(number))))
        for key, (outcome, answer, nodes, candidates, _, charged) in alone.items():
            assert shared[key][:4] == (outcome, answer, nodes, candidates)
            assert shared[key][5]["policy"].flops == charged["policy"].flops  # type: ignore[index]


def test_time_budgets_do_not_share_what_would_be_free(problems: str, tmp_path: Path) -> None:
    study = study_of(problems, "self_consistency(n=2)", "best_of_n(n=2)", budget={"seconds": 60})
    run = done(Run.create(study, tmp_path / "run"))
    assert all(record.spent_total.new_tokens > 0 for record in run.attempts)


def test_a_failed_attempt_is_kept_until_it_is_rerun_on_request(problems: str, tmp_path: Path) -> None:
    broken = "scripted(broken=['problems/test/2'])"
    run = done(Run.create(study_of(problems, "greedy()", model=broken), tmp_path / "run"))
    assert [record.failed for record in run.attempts] == [False, False, True, False, False, False]
    failed = list(run.attempts)[2]
    assert (failed.stop, failed.outcome) == (Stop.ERROR, Outcome.ERROR)
    assert "declared broken" in failed.message
    assert run.status().errors == 1
    before = [record.seconds for record in run.attempts]
    run.execute()
    assert [record.seconds for record in run.attempts] == before
    run.execute(retry_errors=True)
    after = [record.seconds for record in run.attempts]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True, True, True]


def test_another_study_is_refused_in_a_folder_that_holds_one(problems: str, tmp_path: Path) -> None:
    Run.create(study_of(problems, "greedy()"), tmp_path / "run")
    Run.create(study_of(problems, "greedy()", concurrency=3, name="renamed"), tmp_path / "run")
    with pytest.raises(StudyError, match=r"another study \(hash .*choose another folder.*\n.*seeds: \[1\] here, \[0\]"):
        Run.create(study_of(problems, "greedy()", seeds=[1]), tmp_path / "run")


def test_changed_problems_are_refused(problems: str, tmp_path: Path) -> None:
    Run.create(study_of(problems, "greedy()"), tmp_path / "run")
    path = tmp_path / "problems.jsonl"
    path.write_text(path.read_text().replace('"answer": "3"', '"answer": "4"'))
    with pytest.raises(StudyError, match="have changed since the run was made"):
        Run.create(study_of(problems, "greedy()"), tmp_path / "run")


def test_the_study_is_stored_before_the_first_attempt(problems: str, tmp_path: Path) -> None:
    study = study_of(problems, "greedy()", "rebase(width=[2, 4])", reference="greedy()")
    Run.create(study, tmp_path / "run")
    opened = Run.open(tmp_path / "run")
    assert list(opened.attempts) == []
    assert opened.study == study
    assert Run.open(tmp_path / "run" / "isoflop.db").study.hash == study.hash


def test_a_session_says_where_and_with_what_it_ran(problems: str, tmp_path: Path) -> None:
    run = Run.create(study_of(problems, "greedy()"), tmp_path / "run")
    run.execute(command="isoflop study run study.toml")
    [session] = run.sessions
    assert (session["pid"], session["command"]) == (os.getpid(), "isoflop study run study.toml")
    assert "cores" in session["hardware"]
    assert set(session["versions"]) >= {"isoflop", "python"}
    assert session["started"] <= session["ended"]


def test_progress_counts_up_and_ends_with_nothing_left(problems: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    run = Run.create(study_of(problems), tmp_path / "run")
    last = run.execute(seen.append, progress_seconds=0)
    counts = [progress.done for progress in seen]
    assert counts == sorted(counts)
    assert counts[-1] == last.done == last.total
    assert last.eta_seconds == 0
    assert all(progress.eta_seconds is not None for progress in seen)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        Run.open(tmp_path)
