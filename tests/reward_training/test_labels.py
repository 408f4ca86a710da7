"""Labelled solutions: what is written comes back, and a wrong line is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.core import Channel, Outcome
from isoflop.errors import ProblemError, StoreError
from isoflop.reward_training.labels import LABEL_KINDS, LabelledSolution, LabelledStep, read_labels, write_labels

TEXT = st.text(st.characters(codec=None), max_size=8)  # lone surrogates, too
STEPS = st.builds(
    LabelledStep,
    text=TEXT,
    label=st.none() | st.floats(0, 1),
    completions=st.integers(0, 8),
    tokens=st.lists(st.integers(0, 2**31 - 1), max_size=3).map(tuple),
    logprobs=st.lists(st.floats(-1e3, 0), max_size=3).map(tuple),
    forced=st.integers(0, 3),
    channel=st.sampled_from(Channel),
)
SOLUTIONS = st.builds(
    LabelledSolution,
    problem=TEXT,
    question=TEXT,
    gold=TEXT,
    prompt=TEXT,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    outcome=st.sampled_from([Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER]),
    kind=st.sampled_from(LABEL_KINDS),
    arm=TEXT,
    seed=st.integers(0, 9),
)
ONE = LabelledSolution("p", "1 + 1?", "2", "Q: 1 + 1?", (LabelledStep("2\n", 1.0),), Outcome.CORRECT, "hard")


@given(st.lists(SOLUTIONS, max_size=3))
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, solutions: list) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.jsonl"
    assert write_labels(path, solutions) == len(solutions)
    assert list(read_labels(path)) == solutions


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"steps": [{"text": "x", "label": 1.5}]},
            r"line 2 is no labelled solution: label 1.5; a label is a number",
        ),
        ({"kind": "medium"}, "kind 'medium'; allowed: outcome, hard, soft"),
        ({"outcome": "fine"}, "'fine' is not a valid Outcome"),
        ({"steps": [{"text": "x"}]}, "no 'label'"),
        ({"steps": None}, "line 2 is no labelled solution"),
    ],
)
def test_a_line_that_is_no_labelled_solution_is_named(tmp_path: Path, change: dict, said: str) -> None:
    path = tmp_path / "labels.jsonl"
    write_labels(path, [ONE])
    row = json.loads(path.read_text())
    path.write_text("\n".join([json.dumps(row), json.dumps(row | change)]))
    with pytest.raises(ProblemError, match=said):
        list(read_labels(path))


def test_an_interrupted_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    write_labels(path, [ONE])

    def interrupted():
        yield ONE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_labels(path, interrupted())
    assert list(read_labels(path)) == [ONE]
    with pytest.raises(StoreError, match="cannot be written"):
        write_labels(tmp_path / "nowhere" / "labels.jsonl", [ONE])
