"""What a page carries of a problem, against the records; and what is left out where there is no room."""

import base64
import gzip
import json

import pytest
from tests.report.conftest import made

from isoflop.core import Stop
from isoflop.report.fate import Fate, fates
from isoflop.report.page_data import Attempts
from isoflop.report.problem_blobs import disagreement, problem_blobs


def unpacked(blob):
    return json.loads(gzip.decompress(base64.b64decode(blob)))


@pytest.fixture(scope="module")
def given(hostile):
    arms = {label: place for place, label in enumerate(hostile.study.labels)}
    return hostile.problems, Attempts.of(hostile).by_problem, arms


def test_a_blob_holds_every_tree(given):
    problems, attempts, arms = given
    blobs = problem_blobs(problems, attempts, arms, 10**9)
    assert blobs.without_trees == 0
    for blob, problem, records in zip(blobs.packed, problems, attempts, strict=True):
        data = unpacked(blob)
        assert data["question"] == problem.question
        assert len(set(data["texts"])) == len(data["texts"])  # what is shared is stored once
        for one, record in zip(data["attempts"], records, strict=True):
            tree, nodes = one["tree"], record.nodes
            assert [data["texts"][text] for text in tree["text"]] == [node.step.text for node in nodes]
            assert tree["parent"] == [-1 if node.parent is None else node.parent for node in nodes]
            assert tree["tokens"] == [len(node.step.tokens) for node in nodes]
            assert tree["flops"] == pytest.approx([node.cost.flops for node in nodes], rel=0.005)
            for found, node in zip(tree.get("reward", [None] * len(nodes)), nodes, strict=True):
                assert found == (None if node.reward is None else pytest.approx(node.reward, rel=0.005))
            assert [data["texts"][text] for text in one["path"]] == solution_steps(record)


def solution_steps(record):
    steps, node = [], record.candidates[record.chosen].node
    while node is not None:
        steps.append(record.nodes[node].step.text)
        node = record.nodes[node].parent
    return steps[::-1]


def test_the_least_disputed_trees_go_first_where_there_is_no_room(given):
    problems, attempts, arms = given
    whole = problem_blobs(problems, attempts, arms, 10**9)
    room = sum(map(len, whole.packed)) - 1
    blobs = problem_blobs(problems, attempts, arms, room)
    assert sum(map(len, blobs.packed)) <= room
    assert blobs.without_trees >= 1
    disputed = {True: [0.0], False: [0.0]}
    for records, blob in zip(attempts, blobs.packed, strict=True):
        disputed[unpacked(blob)["trees"]].append(disagreement(records))
    assert max(disputed[True]) >= max(disputed[False])
    for blob in blobs.packed:
        for one in unpacked(blob)["attempts"]:
            assert one["path"]  # the chosen solutions stay


def test_every_node_has_a_fate(tmp_path):
    run = made(
        tmp_path,
        ["How much is 0 and 0?", "How much is 1 and 0?"],
        model="scripted(steps=3, skill=0.7)",
        strategies=["beam(width=2, expand=2)", "rebase(width=4)", "mcts(simulations=4, expand=2)"],
    )
    seen = set()
    for record in run.attempts:
        outline = record.outline()
        found = fates(outline, record)
        voted = {candidate.node for candidate in record.candidates}
        for place, fate in enumerate(found):
            grew = place in outline["parent"]
            assert (fate is Fate.GREW) == (grew and place not in voted)
            assert (fate in (Fate.VOTED, Fate.CLOSED)) == (place in voted)
        seen |= set(found)
        assert record.stop is Stop.FINISHED
        assert Fate.STOPPED not in found
    assert Fate.PRUNED in seen
