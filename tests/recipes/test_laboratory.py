"""The laboratory's gates, on records that are made up to pass or to fail; and its recipe says what it would do."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from isoflop.core import Problem, StepEnd

FOLDER = Path(__file__).parents[2] / "recipes" / "laboratory"
SOLUTION = "c: 1 + 2, c = 3\nd: c3 + 4, d = 7\n#### 137"
TEXTS = ("c: 1 + 2, c = ", "3\nd: c3 + 4, d = ", "7\n#### 137")


@pytest.fixture(scope="module")
def gates():
    spec = importlib.util.spec_from_file_location("gates", FOLDER / "gates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nodes(*, texts=TEXTS, rewards=(0.5, 0.9, 0.9), logprobs=(-0.1, -0.1, -0.1), end=StepEnd.END):
    """A path of nodes with these steps."""
    ends = [*[StepEnd.DELIMITER] * (len(texts) - 1), end]
    return [
        SimpleNamespace(
            parent=place - 1 if place else None,
            step=SimpleNamespace(text=text, end=ends[place], logprobs=(logprobs[place],)),
            reward=rewards[place],
            depth=place + 1,
        )
        for place, text in enumerate(texts)
    ]


def record(number, correct=True, made=(), outcomes=("correct",)):
    problem = Problem(f"p{number}", "q", "137", {"solution": SOLUTION, "hidden": [[], []]})
    candidates = [SimpleNamespace(outcome=outcome, node=len(made) - 1) for outcome in outcomes]
    return SimpleNamespace(problem=problem, correct=correct, nodes=list(made), candidates=candidates)


def arm(count, right, **rest):
    return {f"p{number}": record(number, number < right, **rest) for number in range(count)}


@pytest.mark.parametrize(("right", "go"), [(14, False), (15, True), (60, True), (61, False)])
def test_the_base_has_room_on_both_sides(gates, right, go):
    assert gates.base({"base greedy": arm(100, right)})["go"] is go


@pytest.mark.parametrize(("passed", "go"), [(56, False), (57, True)])
def test_headroom_is_counted_without_chance(gates, passed, go):
    samples = {f"p{n}": record(n, outcomes=("wrong", "correct" if n < passed else "wrong")) for n in range(100)}
    none = {f"p{n}": record(n, outcomes=("wrong",)) for n in range(100)}
    greedy = {"base greedy": arm(100, 30), "thoughts greedy": arm(100, 30)}
    found = gates.headroom(greedy | {"base samples": none, "thoughts samples": samples})
    assert found["go"] is go
    assert "base pass@16 0.0 less chance 1.6, -31.6 points" in found["numbers"]


@pytest.mark.parametrize(("right", "go"), [(30, False), (50, True), (5, False)])
def test_thoughts_must_beat_fillers_surely(gates, right, go):
    assert gates.content({"thoughts vote": arm(100, right), "fillers vote": arm(100, 30)})["go"] is go


def test_a_reward_is_judged_by_the_exact_oracle_and_against_log_probability(gates):
    wrong = ("c: 1 + 2, c = ", "4\nd: c4 + 4, d = ", "8\n#### 148")
    good, bad = nodes(), nodes(texts=wrong, rewards=(0.5, 0.1, 0.1))
    for node in bad:
        node.parent = None if node.parent is None else node.parent + len(good)
    both = {f"p{n}": record(n, made=[*good, *bad]) for n in range(5)}
    assert [step[0] for step in gates.steps_of(both["p0"])] == [True, True, False, False]
    told = gates.reward({"base samples": both}, "base")
    assert told["go"]
    assert "+0.500" in told["numbers"]


def test_a_search_must_be_deep_and_closed(gates):
    assert gates.search({"base search": arm(3, 3, made=nodes())}, "base")["go"]
    assert not gates.search({"base search": arm(3, 3, made=nodes()[:2])}, "base")["go"]
    assert not gates.search({"base search": arm(3, 3, made=nodes(end=StepEnd.CAP))}, "base")["go"]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_the_recipe_makes_everything_in_order_and_nothing_twice(tmp_path):
    command = ["make", "-n", "-f", "recipes/laboratory/Makefile", "SEEDS=0", f"OUT={tmp_path}"]
    done = subprocess.run(command, cwd=FOLDER.parents[1], capture_output=True, text=True, check=True).stdout
    for name in ("base", "thoughts", "fillers", "longer", "scratchpad", "deeper", "base-reward", "thoughts-reward"):
        assert done.count(f"touch {tmp_path}/seed-0/{name}.done\n") == 1
    assert done.index("lab train") < done.index("quietstar train") < done.index("gates.toml")
    assert "answer_prefix='\\n#### '" in done
