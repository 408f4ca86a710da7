"""GSM8K: 8.5 thousand grade-school mathematics word problems (arXiv 2110.14168), the set of the published study.

Test is the official test split. Dev is declared here: every 16th question of the training split (468 of 7,473); train
is the other 7,005, for training rewards and thoughts. The gold answer stands behind `####`.

    gsm8k(path='data/gsm8k', limit=64)              # a folder with train.jsonl and test.jsonl
    gsm8k(path='data/gsm8k', subset='published128')  # the study's 128 test questions (arXiv 2412.16260), in its order
    gsm8k(limit=64)                                 # through the Hugging Face hub
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from isoflop.core import Problem
from isoflop.errors import ProblemError
from isoflop.problems.base import ProblemSet, Split, shuffled
from isoflop.problems.hub import hub_rows
from isoflop.problems.rows import Row, final_answer, read_jsonl, text_in
from isoflop.specs import require

DEV_STRIDE = 16
PUBLISHED_SEED, PUBLISHED_QUESTIONS = 42, 128


@dataclass(frozen=True)
class GSM8K(ProblemSet):
    """`path`: a folder with train.jsonl and test.jsonl, or a file of test questions; without it, the hub's copy.

    `subset='published128'` makes test the published study's 128 questions in its order; it does not change the others.
    """

    spec_name: ClassVar[str] = "gsm8k"
    splits: ClassVar[tuple[Split, ...]] = ("train", "dev", "test")

    path: str | None = None
    subset: Literal["published128"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.subset is None or self.seed is None,
            f"subset={self.subset!r} has its own order: seed={self.seed} would shuffle it again; give one of them",
        )

    def read(self, split: Split) -> tuple[Problem, ...]:
        """The split's problems in file order, or the published subset in the study's order."""
        source: Literal["train", "test"] = "test" if split == "test" else "train"
        problems = tuple(_problem(row, source, index, where) for index, (where, row) in enumerate(self._rows(source)))
        if source == "train":
            return tuple(one for index, one in enumerate(problems) if (index % DEV_STRIDE == 0) == (split == "dev"))
        return shuffled(problems, PUBLISHED_SEED)[:PUBLISHED_QUESTIONS] if self.subset else problems

    def _rows(self, source: Literal["train", "test"]) -> Iterable[tuple[str, Row]]:
        if self.path is None:
            return hub_rows("openai/gsm8k", "main", source, "or give path=FOLDER with train.jsonl and test.jsonl")
        path = Path(self.path).expanduser()
        if path.is_dir():
            path = path / f"{source}.jsonl"
        elif source == "train":
            raise ProblemError(
                f"{self} has no train or dev: {path} holds test questions; give the folder with train.jsonl"
            )
        return ((f"{path} line {line}", row) for line, row in read_jsonl(path))


def _problem(row: Row, source: str, index: int, where: str) -> Problem:
    solution = text_in(row, "answer", where)
    if "####" not in solution:
        raise ProblemError(f"{where}: the answer has no '####' with the gold answer behind it; is this GSM8K?")
    question = text_in(row, "question", where)
    return Problem(f"gsm8k/{source}/{index}", question, final_answer(solution), {"solution": solution})
