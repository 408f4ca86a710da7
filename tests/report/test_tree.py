"""A search in the terminal: every node once, the chosen path marked, hostile text spelled out."""

import io
import json

import pytest
from rich.console import Console

from isoflop.api import Run, study_of
from isoflop.errors import StudyError
from isoflop.report.tree import CHOSEN, attempts_at, drawn, visible


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rows = [{"id": f"p{i}", "question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(3)]
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    study = study_of(model="scripted(steps=3, skill=0.6)", problems=f"jsonl('{folder / 'q.jsonl'}')",
                     strategies=["greedy()", "rebase(width=4)"])  # fmt: skip
    made = Run.create(study, folder / "run")
    made.execute()
    return made


def shown(record):
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(drawn(record))
    return out.getvalue()


def test_every_node_is_shown_once_within_80_columns_and_the_chosen_path_is_marked(run):
    [record] = attempts_at(run, run.problems[1].id, "rebase(width=4)")
    text = shown(record)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count(" tok ") == len(record.nodes)
    assert text.count(CHOSEN) == record.nodes[record.candidates[record.chosen].node].depth
    assert text.count("→") == len({candidate.node for candidate in record.candidates})
    assert record.outcome.value in text


def test_an_unknown_problem_is_told_with_what_there_is(run):
    with pytest.raises(StudyError, match="'nothing' is not in this run"):
        attempts_at(run, "nothing")


def test_text_is_shown_and_never_obeyed():
    assert visible("a\x1b[2Jb\u202ec\x07\n") == r"a\x1b[2Jb\u202ec\x07"
    assert visible("x" * 1000).endswith("(1,000 characters)")
