"""Records: whatever an attempt held comes back from its row, byte for byte."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from isoflop.asking import Prompt
from isoflop.core import Attempt, Candidate, Channel, Origin, Outcome, Problem, Step, StepEnd, Stop, Trajectory
from isoflop.cost.ledger import Cost, NodeCost
from isoflop.studies.record import (
    COLUMNS,
    Record,
    decode_costs,
    decode_steps,
    encode,
    encode_costs,
    encode_steps,
    storable,
)
from isoflop.studies.store import Store

TEXT = st.text(st.characters(codec=None), max_size=12)  # lone surrogates and NULs, too
STEPS = st.builds(
    Step,
    text=TEXT,
    tokens=st.lists(st.integers(0, 2**31 - 1), max_size=4).map(tuple),
    logprobs=st.lists(st.floats(-1e3, 0), max_size=4).map(tuple),
    forced=st.integers(0, 3),
    trailing=st.integers(0, 2),
    end=st.sampled_from(StepEnd),
    channel=st.sampled_from(Channel),
    readouts=st.lists(st.floats(-9, 9), max_size=2).map(tuple),
)
COSTS = st.builds(
    Cost,
    prefill_flops=st.integers(0, 2**80),  # far beyond what a float, or an integer column, can hold
    kv_held_bytes=st.integers(0, 2**40),
    new_tokens=st.integers(0, 9999),
    seconds=st.floats(0, 1e6),
    joules=st.none() | st.floats(0, 1e6),
)
NODE_COSTS = st.builds(NodeCost, st.integers(0, 2**80), st.integers(0, 2**60), st.integers(0, 99), st.integers(0, 99))
BOOKS = st.dictionaries(st.sampled_from(["policy", "thought", "reward"]), COSTS)
PROBLEM = Problem("p0", "How much?", "1")


@given(st.lists(STEPS, max_size=5))
def test_steps_come_back(steps: list[Step]) -> None:
    assert decode_steps(*encode_steps(steps)) == steps


@given(BOOKS)
def test_costs_come_back(book: dict[str, Cost]) -> None:
    assert decode_costs(encode_costs(book)) == book  # type: ignore[arg-type]


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    root = Trajectory.at(Origin(PROBLEM, Prompt("x"), "x", (1, 2), 3, "s"))
    nodes: list[Trajectory] = []
    for index, step in enumerate(draw(st.lists(STEPS, max_size=6))):
        parent = draw(st.sampled_from([root, *nodes]))
        nodes.append(parent.extend(step, index))
    candidates = [
        Candidate(place, draw(st.none() | TEXT), draw(st.none() | TEXT), draw(st.none() | st.floats(0, 1)))
        for place in range(len(nodes))
    ]
    return Attempt(
        key=None,
        problem=PROBLEM,
        seed=3,
        stop=draw(st.sampled_from(Stop)),
        message=draw(TEXT),
        nodes=tuple(nodes),
        rewards=tuple(draw(st.none() | st.floats(0, 1)) for _ in nodes),
        candidates=tuple(candidates),
        chosen=draw(st.none() | st.integers(0, 5)),
        answer=draw(st.none() | TEXT),
        tied=tuple(draw(st.lists(TEXT, max_size=2))),
        outcome=draw(st.sampled_from(Outcome)),
        spent=draw(BOOKS),  # type: ignore[arg-type]
        charged=draw(BOOKS),  # type: ignore[arg-type]
        seconds=draw(st.floats(0, 1e5)),
        overshoot_seconds=draw(st.floats(0, 1e5)),
        node_costs=draw(st.just(()) | st.tuples(*[NODE_COSTS] * len(nodes))),
    )


@given(attempts())
def test_an_attempt_comes_back_from_its_row(attempt: Attempt) -> None:
    row = dict(zip(COLUMNS, encode(attempt, 0, 0, None), strict=True))
    record = Record("arm", PROBLEM, row, lambda columns: [row[column] for column in columns])
    assert [node.step for node in record.nodes] == [node.step for node in attempt.nodes]
    assert [node.path for node in record.nodes] == [node.path for node in attempt.nodes]
    assert [record.solution(place) for place in range(len(attempt.nodes))] == [node.text for node in attempt.nodes]
    assert tuple(node.reward for node in record.nodes) == attempt.rewards
    assert [node.cost for node in record.nodes] == list(attempt.node_costs or [None] * len(attempt.nodes))
    assert record.candidates == attempt.candidates
    assert (record.spent, record.charged, record.tied) == (attempt.spent, attempt.charged, attempt.tied)
    assert (record.stop, record.outcome, record.chosen) == (attempt.stop, attempt.outcome, attempt.chosen)
    assert (record.seconds, record.overshoot_seconds) == (attempt.seconds, attempt.overshoot_seconds)
    assert record.message == storable(attempt.message)


def test_text_that_no_file_can_hold_is_spelled_out_and_stored(tmp_path: Path) -> None:
    problem = Problem("odd \ud800", "NUL \x00 and half a pair \udfff", "1")
    Store.create(tmp_path, {}, [problem], [("arm", "{}")])
    with Store.reader(tmp_path) as store:
        assert store.problems()[0].question == "NUL \x00 and half a pair \\udfff"
