"""Problem sets through `datasets`, offline: saved folders, data files, and what is refused."""

import json
import sys
from pathlib import Path

import pytest

from isoflop.errors import MissingExtraError, ProblemError
from isoflop.problems.gsm8k import GSM8K
from isoflop.problems.hub import Hub

ROWS = [{"problem": f"{index} + 1?", "gold": str(index + 1)} for index in range(6)]


@pytest.fixture
def saved(tmp_path: Path) -> str:
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": split.select([0, 1]), "test": split.select([2, 3, 4, 5])}).save_to_disk(
        str(tmp_path)
    )
    return str(tmp_path)


def test_a_saved_data_set_is_read_by_its_declared_splits(saved: str) -> None:
    problems = Hub(saved, question="problem", answer="gold", dev="train")
    assert [(one.id, one.answer) for one in problems.load("test")] == [
        (f"{saved}/test/{i}", str(i + 3)) for i in range(4)
    ]
    assert [one.question for one in problems.load("dev")] == ["0 + 1?", "1 + 1?"]


def test_a_folder_of_data_files_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = tmp_path / "data"
    data.mkdir()
    (data / "test.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    problems = Hub(str(data), question="problem", answer="gold", test="test[:3]").load("test")
    assert [one.answer for one in problems] == ["1", "2", "3"]


def test_a_missing_column_split_or_set_says_what_there_is(saved: str) -> None:
    with pytest.raises(ProblemError, match=r"test row 0 has no column 'question'; allowed: gold, problem"):
        Hub(saved).load("test")
    with pytest.raises(ProblemError, match=r"split 'val' is not saved there; allowed: test, train; or use jsonl"):
        Hub(saved, test="val").load("test")
    with pytest.raises(ProblemError, match=r"declares no dev; name a split"):
        Hub(saved).load("dev")


def test_without_the_extra_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'isoflop\[hub\]', or give path=FOLDER"):
        GSM8K().load("test")
