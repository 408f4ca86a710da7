"""The recipes outside the laboratory: GSM8K's notes in forms that differ in nothing else, and what make would run."""

import importlib.util
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from isoflop import specs
from isoflop.core import Problem
from isoflop.studies.study_file import load_study

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes" / "external"
SOLUTION = "He sold 48/2 = <<48/2=24>>24 clips.\nThat makes 24*$3=$<<24*3=72>>72 in all.\n#### 72"
PROMPT = "Question: How much?\nAnswer:\n"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notes, as_options = script("hidden_operations"), script("as_options")


def row(form, solution=SOLUTION):
    [found] = notes.rows([Problem("a", "How much?", "72", {"solution": solution})], form, lambda text: 0)
    return found


def test_the_note_is_thought_right_before_the_result_that_it_makes():
    found = row("thoughts")
    assert found["text"] == f"{PROMPT}He sold 48/2 = 24 clips.\nThat makes 24*$3 = 72 in all.\n#### 72\n\n"
    assert found["text"][: found["prompt_chars"]] == PROMPT
    assert [(found["text"][each["at"] :][:2], each["text"]) for each in found["thoughts"]] == [
        ("He", "---"),
        ("24", "48/2=24"),
        ("72", "24*3=72"),
    ]
    assert all(found["text"][: each["at"]].endswith("= ") for each in found["thoughts"][1:])


def test_the_forms_differ_in_the_notes_alone():
    thoughts, fillers, visible, absent = (row(form) for form in ("thoughts", "fillers", "visible", "absent"))
    assert fillers == {**thoughts, "thoughts": [{**each, "text": "---"} for each in thoughts["thoughts"]]}
    assert absent == {key: value for key, value in thoughts.items() if key != "thoughts"}
    assert "= <<48/2=24>>24 clips" in visible["text"]
    assert visible["text"].replace("<<48/2=24>>", "").replace("<<24*3=72>>", "") == absent["text"]


@pytest.mark.parametrize(
    "solution",
    [
        "Half are <<48/2=24>>24.\n#### 24",  # no equals sign in front of the note
        "48/2 = <<48/2=24>> 24.\n#### 24",  # its result is not right behind it
        "Half of 48 is 24.\n#### 24",  # no note
    ],
)
def test_what_does_not_hide_an_operation_before_its_result_is_left_out_of_every_form(solution):
    problem = Problem("a", "How much?", "24", {"solution": solution})
    assert [list(notes.rows([problem], form, len)) for form in notes.FORMS] == [[]] * 4


def test_long_notes_and_long_texts_are_left_out_of_every_form_alike():
    problem = Problem("a", "How much?", "72", {"solution": SOLUTION})
    for longest in (lambda text: 11 if text == "48/2=24" else 0, lambda text: 193 if "<<" in text else 0):
        assert [list(notes.rows([problem], form, longest)) for form in notes.FORMS] == [[]] * 4


@pytest.mark.parametrize(("file", "label"), [("chain-sum", "greedy()"), ("gsm8k-notes", "rebase(width=8) | fillers")])
def test_labels_are_asked_for_as_the_study_asks(file, label):
    study = load_study(FOLDER / f"{file}.toml", {"n": "7", "split": "train"})
    [arm] = [each for each in study.arms if study.label(each) == label]
    said = as_options.options(str(FOLDER / f"{file}.toml"), label, "n=7", "split=train")
    given = dict(zip(said[::2], said[1::2], strict=True))
    assert given.keys() == {"--model", "--problems", "--split", "--prompt", "--sampling"}
    assert given["--split"] == "train"
    assert specs.parse("engine", given["--model"]) == arm.engine
    assert specs.parse("problems", given["--problems"]) == study.problems
    assert specs.parse("prompt", given["--prompt"]) == arm.prompt
    assert specs.parse("sampling", given["--sampling"]) == arm.sampling
    assert shlex.split(shlex.join(said)) == said


@pytest.mark.parametrize("name", ["chain-sum", "basic-arithmetic"])
def test_search_and_vote_have_the_same_reward_and_the_votes_are_one_family(name):
    study = load_study(FOLDER / f"{name}.toml", {"votes": "8, 10"})
    assert study.comparisons == (("rebase(width=8)", "weighted_vote(n=8)"),)
    assert len({arm.reward for arm in study.arms if arm.reward is not None}) == 1
    assert [study.label(arm) for arm in study.families[1]] == ["weighted_vote(n=8)", "weighted_vote(n=10)"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_every_command_from_labels_to_test():
    make = ["make", "-n", "-f", "recipes/external/Makefile", "OUT=nowhere", "MODEL=DIR", "DATA=DATA"]
    ran = subprocess.run([*make, "gym-test", "gsm8k-test"], cwd=ROOT, capture_output=True, text=True, check=True)
    said = ran.stdout
    for task in ("chain-sum", "basic-arithmetic"):
        assert f"--out nowhere/{task}/labels" in said
        assert f"study run recipes/external/{task}.toml --set model=DIR --set head=nowhere/{task}/head" in said
    for form in notes.FORMS:
        assert f"quietstar train DIR --data nowhere/gsm8k/{form}.jsonl" in said
        assert f"--model nowhere/gsm8k/{form} " in said
    assert "study run recipes/external/gsm8k-notes.toml" in said
