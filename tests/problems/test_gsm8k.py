"""GSM8K from files: splits, golds, and the published study's 128 questions."""

import csv
import json
from pathlib import Path

import pytest

from isoflop.errors import ProblemError, SpecError
from isoflop.problems.gsm8k import GSM8K

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data" / "gsm8k"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"{DATA} is not here: the published questions are not shipped"
)


def solution(answer: object) -> str:
    return json.dumps({"question": f"what makes {answer}?", "answer": f"half of {answer} twice\n#### {answer}"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text("\n".join(solution(index) for index in range(40)))
    (tmp_path / "test.jsonl").write_text("\n".join(solution(f"{index},000") for index in range(5)))
    return tmp_path


def test_test_is_test_and_dev_is_every_sixteenth_of_train(folder: Path) -> None:
    problems = GSM8K(str(folder))
    assert [(one.id, one.answer) for one in problems.load("test")][:2] == [
        ("gsm8k/test/0", "0000"),
        ("gsm8k/test/1", "1000"),
    ]
    assert [(one.id, one.answer) for one in problems.load("dev")] == [
        ("gsm8k/train/0", "0"),
        ("gsm8k/train/16", "16"),
        ("gsm8k/train/32", "32"),
    ]
    assert problems.load("test")[3].meta["solution"].endswith("#### 3,000")


def test_train_is_the_training_split_without_dev(folder: Path) -> None:
    problems = GSM8K(str(folder))
    train, dev = problems.load("train"), problems.load("dev")
    assert [one.id for one in train][14:17] == ["gsm8k/train/15", "gsm8k/train/17", "gsm8k/train/18"]
    assert sorted(int(one.answer or -1) for one in (*train, *dev)) == list(range(40))


def test_a_file_is_a_test_set_and_has_no_dev(folder: Path) -> None:
    problems = GSM8K(str(folder / "test.jsonl"), limit=2)
    assert len(problems.load("test")) == 2
    with pytest.raises(ProblemError, match=r"has no train or dev: .*test.jsonl holds test questions; give the folder"):
        problems.load("dev")


def test_what_is_not_gsm8k_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(solution(1) + '\n{"question": "a?", "answer": "42"}')
    with pytest.raises(ProblemError, match=r"test.jsonl line 2: the answer has no '####'"):
        GSM8K(str(tmp_path)).load("test")
    with pytest.raises(ProblemError, match=r"train.jsonl does not exist"):
        GSM8K(str(tmp_path)).load("dev")
    with pytest.raises(SpecError, match="subset='published128' has its own order"):
        GSM8K(subset="published128", seed=1)


@needs_data
def test_the_published_subset_has_the_golds_of_the_published_runs_in_their_order() -> None:
    with (SHARED / "paper" / "published_runs.csv").open(newline="") as file:
        golds = {
            int(row["question"]): row["gold"] for row in csv.DictReader(file) if row["configuration"] == "baseline"
        }
    problems = GSM8K(str(DATA), subset="published128").load("test")
    assert [float(one.answer or "nan") for one in problems] == [float(golds[index]) for index in range(128)]
    assert GSM8K(str(DATA), seed=42, limit=128).load("test") == problems
    assert GSM8K(str(DATA), subset="published128", limit=7).load("test") == problems[:7]


@needs_data
def test_the_real_files_have_the_known_sizes() -> None:
    assert len(GSM8K(str(DATA)).load("test")) == 1319
    assert len(GSM8K(str(DATA)).load("dev")) == 468
    assert len(GSM8K(str(DATA)).load("train")) == 7005
    assert GSM8K(str(DATA), subset="published128").load("dev") == GSM8K(str(DATA)).load("dev")
