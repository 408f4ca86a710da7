"""Runs to look at: small ones of the scripted engine, and one whose model says hostile things."""

import json
import sqlite3
from dataclasses import astuple

import pytest

from isoflop.api import Run, study_of
from isoflop.thought import Thought

HOSTILE = [
    "<script>document.title = 'owned'</script>\n",
    "<img src='http://127.0.0.1:9/x.png' onerror=\"document.title='owned'\">\n",
    "</script><h1 id='owned'>&lt;owned&gt;</h1>\n",
    "\u202eright to left\u202c \x00\x07\x1b[31m control \ufffd \\udfff half\n",
    "a" * 30_000 + "\n",
    "quotes \"and\" commas, 'and'\nlines\r\nand a tab\t=1+1\n",
    "漢字 🙂 é\u0301 \u200b\n",
]


def made(folder, questions, **declared):
    """A run that is executed."""
    path = folder / "questions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "\n".join(json.dumps({"question": question, "answer": str(n)}) for n, question in enumerate(questions))
    )
    run = Run.create(study_of(problems=f"jsonl('{path}')", **declared), folder / "run")
    run.execute()
    return run


def poison(folder):
    """Let the model have said and thought hostile things: the steps' texts are replaced in the store."""
    with sqlite3.connect(folder / "isoflop.db") as connection:
        rows = connection.execute("SELECT rowid, tree FROM attempts").fetchall()
        for place, (rowid, text) in enumerate(rows):
            tree = json.loads(text)
            tree["text"] = [HOSTILE[(place + node) % len(HOSTILE)] for node in range(len(tree["text"]))]
            thought = Thought(0, (1, 2), HOSTILE[place % len(HOSTILE)], 0.25, "<b>", "mixed")
            tree["thoughts"] = [[astuple(thought)] for _ in tree["text"]]
            connection.execute("UPDATE attempts SET tree=? WHERE rowid=?", (json.dumps(tree), rowid))
    connection.close()


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """Eight problems, six arms, hostile questions and steps."""
    questions = [f"How much is {n} and 0? {text[:300]}" for n, text in enumerate([*HOSTILE, "plain"])]
    run = made(
        tmp_path_factory.mktemp("hostile"),
        questions,
        model="scripted(steps=3, skill=0.7)",
        strategies=["self_consistency(n=[2,4])", "weighted_vote(n=4)", "beam(width=2,expand=2)", "rebase(width=[2,4])"],
        reference="self_consistency(n=2)",
    )
    poison(run.folder)
    return Run.open(run.folder)
