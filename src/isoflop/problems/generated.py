"""Problem sets that are drawn, not read: without end, without a download, and with splits that cannot overlap.

A problem's id holds a digest of its question, and the digest decides its split: half of all questions there can be are
train, a quarter each dev and test. So no problem of any train split is in any test split, whatever the fields and the
seeds of the two sets. `ood` is the test split of a harder set (`harder`).

    problems = parse("problems", "hiddenops(n_steps=[3], test_seed='9f2c')")
    next(problems.stream("train", seed="1")).meta["solution"]     # for training: as many as you like
    problems.load("test")                                          # the n different problems that `test_seed` gives
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from random import Random
from typing import ClassVar, Self

from isoflop.core import Problem
from isoflop.errors import ProblemError
from isoflop.problems.base import ProblemSet, Split
from isoflop.specs import require

MAX_MISSES = 10_000  # draws in a row without a problem of the split: the fields ask for what does not exist


@dataclass(frozen=True)
class Generated(ProblemSet):
    """`n` problems a split. `test_seed` draws test and ood alone, so it may be settled when all training is over: any
    text, such as the SHA-256 of a file that was published before."""

    splits: ClassVar[tuple[Split, ...]] = ("train", "dev", "test", "ood")

    _: KW_ONLY
    n: int = 1000
    test_seed: str = "0"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n >= 1, f"n={self.n} must be at least 1: it counts the problems of a split")

    @abstractmethod
    def draw(self, random: Random) -> Problem | None:
        """One problem, named by `identifier`; None where what was drawn is none."""

    @abstractmethod
    def harder(self) -> Self:
        """The set whose test split is the ood split of this one."""

    def stream(self, split: Split, seed: str = "0") -> Iterator[Problem]:
        """Problems of train, dev or test without end; a question may come again."""
        random, misses = Random(f"{self.spec_name}|{split}|{seed}"), 0
        while misses < MAX_MISSES:
            problem = self.draw(random)
            misses += 1
            if problem is not None and split_of(problem.id) == split:
                misses = 0
                yield problem
        raise ProblemError(f"{self}: {MAX_MISSES:,} draws gave no problem of {split}; make its fields less narrow")

    def read(self, split: Split) -> tuple[Problem, ...]:
        """The first `n` different problems of the split's stream."""
        if split == "ood":
            return self.harder().read("test")
        found: dict[str, Problem] = {}
        drawn = self.stream(split, self.test_seed if split == "test" else "0")
        for problem in islice(drawn, 10 * self.n + 100):
            found.setdefault(problem.id, problem)
            if len(found) == self.n:
                return tuple(found.values())
        raise ProblemError(
            f"{self} {split}: only {len(found)} different problems were found; give n={len(found)} or less"
        )


def identifier(name: str, question: str) -> str:
    """The id of a question. Equal questions have equal ids, in every set and split."""
    return f"{name}/{hashlib.blake2b(question.encode(), digest_size=8, key=b'isoflop').hexdigest()}"


def split_of(problem_id: str) -> Split:
    """The one split that a generated problem may be in."""
    cells: tuple[Split, ...] = ("train", "train", "dev", "test")
    return cells[int(problem_id[-1], 16) % len(cells)]
