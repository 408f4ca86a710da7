"""Your own questions: a JSON Lines file with one object a line, its columns named by you.

Test is `path`; dev is the file named by `dev`, and without one dev is refused: nothing is split behind your back.

    jsonl('exam.jsonl')                                          # columns "question" and "answer"
    jsonl('exam.jsonl', question='problem', answer='gold', id='name', dev='practice.jsonl')
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from isoflop.core import Problem
from isoflop.errors import ProblemError
from isoflop.problems.base import ProblemSet, Split
from isoflop.problems.rows import read_jsonl, text_in


@dataclass(frozen=True)
class JSONLines(ProblemSet):
    """`question`, `answer` and `id` name columns; `answer=none` makes a set without gold answers.

    Without an id column a problem is named by its file and its place there, as in "exam/test/17".
    """

    spec_name: ClassVar[str] = "jsonl"

    path: str
    question: str = "question"
    answer: str | None = "answer"
    id: str | None = None
    dev: str | None = None

    def read(self, split: Split) -> tuple[Problem, ...]:
        """The problems of the split's file, in file order."""
        if split == "dev" and self.dev is None:
            raise ProblemError(f"{self} declares no dev; name its file, as in jsonl({self.path!r}, dev='dev.jsonl')")
        path = Path(self.dev if split == "dev" and self.dev else self.path).expanduser()
        problems = []
        for index, (line, row) in enumerate(read_jsonl(path)):
            where = f"{path} line {line}"
            problems.append(
                Problem(
                    text_in(row, self.id, where) if self.id else f"{path.stem}/{split}/{index}",
                    text_in(row, self.question, where),
                    text_in(row, self.answer, where) if self.answer else None,
                )
            )
        return tuple(problems)
