"""Any question-answer data set of the Hugging Face hub, or a local folder that `datasets` can read.

`datasets` is an optional package (the `hub` extra), imported when rows are read. This file does not know any data set:
name the columns and the splits. Where the answer column holds a worked solution that ends in `#### 42`, 42 is the gold.

    hub('HuggingFaceH4/MATH-500', question='problem', test='test', revision='6e4ed1a')
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from isoflop.core import Problem
from isoflop.errors import MissingExtraError, ProblemError, did_you_mean
from isoflop.problems.base import ProblemSet, Split
from isoflop.problems.rows import Row, final_answer, text_in


@dataclass(frozen=True)
class Hub(ProblemSet):
    """`name` is a hub id, a folder of data files, or a folder written by `save_to_disk`.

    `question`, `answer` and `id` name columns, `dev` and `test` the data set's splits (slices such as 'train[:500]' are
    understood); `revision` pins a commit of the data set, which a study that is to be repeated should.
    """

    spec_name: ClassVar[str] = "hub"

    name: str
    config: str | None = None
    question: str = "question"
    answer: str | None = "answer"
    id: str | None = None
    dev: str | None = None
    test: str = "test"
    revision: str | None = None

    def read(self, split: Split) -> tuple[Problem, ...]:
        """The problems of the data set's split that is declared for `split`."""
        source = self.dev if split == "dev" else self.test
        if source is None:
            raise ProblemError(f"{self} declares no dev; name a split of the data set, as in dev='train[:500]'")
        rows = hub_rows(self.name, self.config, source, "or use jsonl(...) on a local file", self.revision)
        return tuple(
            self._problem(row, where, f"{self.name}/{source}/{index}") for index, (where, row) in enumerate(rows)
        )

    def _problem(self, row: Row, where: str, place: str) -> Problem:
        return Problem(
            text_in(row, self.id, where) if self.id else place,
            text_in(row, self.question, where),
            final_answer(text_in(row, self.answer, where)) if self.answer else None,
        )


def hub_rows(
    name: str, config: str | None, split: str, instead: str, revision: str | None = None
) -> Iterator[tuple[str, Row]]:
    """(where, row) of one split through `datasets`; `instead` is the way out that errors offer."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            f"reading {name!r} needs the package `datasets`: pip install 'isoflop[hub]', {instead}"
        ) from None
    try:
        rows = _open(datasets, name, config, split, revision)
    except Exception as error:  # `datasets` raises what its many back ends raise: network, scripts, formats
        reason = f"{type(error).__name__}: {str(error)[:500]}"
        raise ProblemError(
            f"{name!r} (config {config}, split {split!r}) cannot be read: {reason}; {instead}"
        ) from error
    for index, row in enumerate(rows):
        yield f"{name} {split} row {index}", row


def _open(datasets: Any, name: str, config: str | None, split: str, revision: str | None) -> Any:
    folder = Path(name).expanduser()
    if not (folder / "dataset_dict.json").is_file():
        return datasets.load_dataset(str(folder) if folder.is_dir() else name, config, split=split, revision=revision)
    saved = datasets.load_from_disk(str(folder))
    if split not in saved:
        raise ProblemError(f"split {split!r} is not saved there{did_you_mean(split, saved)}")
    return saved[split]
