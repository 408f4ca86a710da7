"""Tasks of reasoning-gym (arXiv 2505.24760): puzzles of many kinds, drawn without end, graded by its scorers.

`task` is one of the library's, `settings` what it is made with; both are checked when problems are loaded, which needs
the `gym` extra. The splits are those of every drawn set: they share no question, whatever the settings and seeds.

    reasoning_gym('chain_sum', settings='min_terms=4, max_terms=6', n=400, test_seed='9f2c')
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from random import Random
from typing import ClassVar, Self

from isoflop.core import Problem
from isoflop.errors import ProblemError
from isoflop.problems.base import Split
from isoflop.problems.generated import Generated, identifier
from isoflop.reasoning_gym import open_task, read_settings


@dataclass(frozen=True)
class ReasoningGym(Generated):
    """`n` problems of `task` a split; `grader` follows from the task and its settings."""

    spec_name: ClassVar[str] = "reasoning_gym"
    splits: ClassVar[tuple[Split, ...]] = ("train", "dev", "test")

    task: str
    settings: str = ""
    _: KW_ONLY
    grader: str = field(init=False, default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        read_settings(self.settings)
        grader = f"reasoning_gym(task={self.task!r}, settings={self.settings!r})"
        object.__setattr__(self, "grader", grader)

    def harder(self) -> Self:
        """None: a task does not say what its harder settings are. Name a set of your own."""
        raise ProblemError(f"{self} has no ood; name a set with harder settings and take its test")

    def draw(self, random: Random) -> Problem:
        """A problem from a fresh seed of the library's."""
        question, gold = open_task(self.task, self.settings).draw(random.getrandbits(32))
        return Problem(identifier(self.spec_name, question), question, gold)
