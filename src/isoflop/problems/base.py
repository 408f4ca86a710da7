"""What a problem set is: `load("dev" | "test")` gives its problems, and it names the grader of their answers.

Choices (which arm, which width) are made on dev, claims on test; a set says for both where they come from, and refuses
a split that it does not have. A set may have more: train, and ood, which is harder than anything in train. A set does
not grade: `grader` is the spelling of one, and whoever runs a study makes it with `parse("grader", problems.grader)`.

    problems = parse("problems", "gsm8k(path='data/gsm8k', limit=64, seed=0)")
    problems.load("test")[0].id           # "gsm8k/test/264"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import numpy as np

from isoflop.core import Problem, Trajectory
from isoflop.errors import ProblemError, did_you_mean
from isoflop.specs import Spec, require

Split = Literal["train", "dev", "test", "ood"]
StepOracle = Callable[[Trajectory], bool]


@dataclass(frozen=True)
class ProblemSet(Spec, ABC):
    """A light description of a problem set; files are opened by `load` alone.

    `seed` shuffles (as `datasets.Dataset.shuffle(seed=...)` does), then `limit` keeps the first problems. Ids do not
    depend on either, so subsets of one set share random streams and stored samples. `grader` is a grader's spelling.
    """

    spec_family: ClassVar[str] = "problems"
    splits: ClassVar[tuple[Split, ...]] = ("dev", "test")

    _: KW_ONLY
    limit: int | None = None
    seed: int | None = None
    grader: str = "math()"

    def __post_init__(self) -> None:
        require(self.limit is None or self.limit >= 1, f"limit={self.limit} must be at least 1, or none for all")
        require(self.seed is None or self.seed >= 0, f"seed={self.seed} must be 0 or more, or none for file order")

    def load(self, split: Split) -> tuple[Problem, ...]:
        """The problems of a split, in the set's order. Raises ProblemError where the split cannot be read."""
        if split not in self.splits:
            raise ProblemError(f"split {split!r} is unknown{did_you_mean(split, self.splits)}")
        problems = tuple(self.read(split))
        if not problems:
            raise ProblemError(f"{self} has no problem in {split}; a problem set holds at least one")
        refuse_duplicates([problem.id for problem in problems], f"{self} {split}")
        chosen = shuffled(problems, self.seed) if self.seed is not None else problems
        return chosen[: self.limit]

    @abstractmethod
    def read(self, split: Split) -> Sequence[Problem]:
        """All problems of a split in their source's order. Use `load`, which shuffles, limits and checks."""

    def step_oracle(self) -> StepOracle | None:
        """What tells exactly whether a path is right so far, or None: most sets know the final answer alone."""
        return None


def shuffled(problems: tuple[Problem, ...], seed: int) -> tuple[Problem, ...]:
    """The problems in the order that `datasets.Dataset.shuffle(seed=seed)` gives (NumPy's default generator)."""
    return tuple(problems[index] for index in np.random.default_rng(seed).permutation(len(problems)))


def refuse_duplicates(ids: Sequence[str], where: str) -> None:
    """Raise ProblemError if an id occurs twice: it names the random stream, the stored attempt and the pair."""
    seen: set[str] = set()
    for identifier in ids:
        if identifier in seen:
            raise ProblemError(f"{where}: id {identifier[:200]!r} occurs twice; ids must be unique within a set")
        seen.add(identifier)
