"""The recipes outside the laboratory: GSM8K's notes in forms that differ in nothing else, and what make would run."""

import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from isoflop import specs
from isoflop.core import Problem
from isoflop.report.table import Table
from isoflop.studies.run import Run
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


notes, as_options, verdict = script("hidden_operations"), script("as_options"), script("verdict")


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


def table(low, high):
    row = {"strategy": "rebase(width=8)", "against": "reference", "difference": (low + high) / 2}
    return {"equal_flops": [{**row, "difference_interval": [low, high]}, {**row, "against": "others"}]}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.11, "win: +6.0 [+1.0, +11.0] points"),
        (-0.11, -0.01, "loss: -6.0 [-11.0, -1.0] points"),
        (-0.05, 0.05, "within 5 points: +0.0 [-5.0, +5.0] points"),
        (-0.06, 0.02, "undecided: -2.0 [-6.0, +2.0] points"),
        (0.0, 0.08, "undecided: +4.0 [+0.0, +8.0] points"),
        (0.01, 0.03, "win: +2.0 [+1.0, +3.0] points"),
    ],
)
def test_the_verdict_is_read_off_the_interval(low, high, said):
    assert verdict.verdict_of(table(low, high)) == said


def test_an_incomplete_arm_has_no_verdict():
    with pytest.raises(SystemExit, match="an arm is not complete"):
        verdict.verdict_of({"equal_flops": []})


def test_dev_takes_the_votes_next_to_the_search_with_room_for_another_cost_on_test():
    costs = {"greedy()": 10, "rebase(width=8)": 100} | {f"weighted_vote(n={n})": 12.2 * n for n in (4, 6, 8, 10)}
    arms = [{"strategy": name, "flops_per_problem": cost} for name, cost in costs.items()]
    assert verdict.votes_of({"arms": arms}) == "6, 10"  # 8 costs 97.6: nearer than 3%
    with pytest.raises(SystemExit, match="measure more of them"):
        verdict.votes_of({"arms": arms[:-1]})


def test_a_task_goes_from_dev_over_its_votes_to_a_verdict(tmp_path):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed (make gym)")
    text = (FOLDER / "chain-sum.toml").read_text().replace("trunk('${head}')", "logprob()")
    (tmp_path / "task.toml").write_text(re.sub(r"local\(.*\)(?=\"\n)", "scripted(steps=4, skill=0.8)", text))

    def printed(split, **variables):
        study = load_study(tmp_path / "task.toml", {"split": split, "n": "40", "test_seed": "9f2c", **variables})
        run = Run.create(study, tmp_path / split)
        run.execute()
        return Table.of(run).to_dict()

    both = verdict.votes_of(printed("dev"))
    assert re.fullmatch(r"\d+, \d+", both)
    said = verdict.verdict_of(printed("test", votes=both, vote=both.partition(",")[0]))
    assert re.fullmatch(r"(win|loss|within 5 points|undecided): [+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\] points", said)


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
