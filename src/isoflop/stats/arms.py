"""What the statistics read: one arm's correctness and cost, a row per problem and a column per attempt.

It is not a record of attempts (the store keeps those) and knows no strategy: only numbers that may be compared. Several
attempts on one problem are not independent, so the problem is the unit everywhere: n is the number of problems.

    greedy = ArmData("greedy()", ("p0", "p1"), correct=[[1], [0]], flops=[[2e9], [3e9]])
    greedy.accuracy        # 0.5

Problems as clusters of attempts: Miller, "Adding Error Bars to Evals", arXiv 2411.00640.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.errors import StudyError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, init=False)
class ArmData:
    """One arm on a set of problems; `correct`, `flops` and `seconds` are [problems, attempts].

    `correct` is 0 or 1, or in between where ties are shared (the expected correctness of a random choice).
    """

    name: str
    problems: tuple[str, ...]
    correct: Floats
    flops: Floats
    seconds: Floats | None = None

    def __init__(
        self,
        name: str,
        problems: Sequence[str],
        correct: ArrayLike,
        flops: ArrayLike,
        seconds: ArrayLike | None = None,
    ) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "problems", tuple(problems))
        object.__setattr__(self, "correct", np.asarray(correct, dtype=np.float64))
        object.__setattr__(self, "flops", np.asarray(flops, dtype=np.float64))
        object.__setattr__(self, "seconds", None if seconds is None else np.asarray(seconds, dtype=np.float64))
        self._refuse_wrong_data()

    def _refuse_wrong_data(self) -> None:
        where = f"arm {self.name!r}"
        repeated = sorted(problem for problem, times in Counter(self.problems).items() if times > 1)
        if not self.problems:
            raise StudyError(f"{where} has no problems; a statistic needs at least one")
        if repeated:
            raise StudyError(f"{where} names {repeated[0]!r} twice; give each problem one row, its attempts as columns")
        tables = {"correct": self.correct, "flops": self.flops, "seconds": self.seconds}
        for label, table in tables.items():
            if table is None:
                continue
            if (
                table.ndim != 2
                or table.shape != self.correct.shape
                or len(table) != len(self.problems)
                or not table.size
            ):
                raise StudyError(
                    f"{where}: {label} has shape {table.shape}; expected [problems, attempts] = "
                    f"({len(self.problems)}, attempts >= 1), the same for correct, flops and seconds"
                )
            if not np.isfinite(table).all() or (table < 0).any():
                bad = self.problems[int(np.argmax(~(np.isfinite(table) & (table >= 0)).all(axis=1)))]
                raise StudyError(f"{where}: {label} of problem {bad!r} is negative or not finite; rerun that attempt")
        if (self.correct > 1).any():
            raise StudyError(f"{where}: correct reaches {self.correct.max():g}; allowed: 0 (wrong) to 1 (right)")

    @property
    def attempts(self) -> int:
        """Attempts per problem."""
        return int(self.correct.shape[1])

    @property
    def is_zero_one(self) -> bool:
        """Whether every attempt is plainly right or wrong (no shared ties)."""
        return bool(np.isin(self.correct, (0.0, 1.0)).all())

    @property
    def accuracy_by_problem(self) -> Floats:
        """Mean correctness of each problem's attempts."""
        return _means(self.correct)

    @property
    def flops_by_problem(self) -> Floats:
        """Mean FLOPs of each problem's attempts."""
        return _means(self.flops)

    @property
    def accuracy(self) -> float:
        """Mean correctness over problems, 0 to 1."""
        return float(self.correct.mean())

    @property
    def mean_flops(self) -> float:
        """Mean FLOPs of one attempt."""
        return float(self.flops.mean())

    def named(self, name: str) -> ArmData:
        """The same data under another name."""
        return replace(self, name=name)


def _means(table: Floats) -> Floats:
    means: Floats = table.mean(axis=1)
    return means


def require_same_problems(arms: Sequence[ArmData]) -> tuple[str, ...]:
    """The problems that all arms share, in their common order; a StudyError says which differ."""
    if not arms:
        raise StudyError("no arms to compare; give at least one")
    first = arms[0]
    for arm in arms[1:]:
        if arm.problems == first.problems:
            continue
        only_first = [problem for problem in first.problems if problem not in set(arm.problems)]
        only_other = [problem for problem in arm.problems if problem not in set(first.problems)]
        if only_first or only_other:
            detail = f"only in {first.name!r}: {_some(only_first)}; only in {arm.name!r}: {_some(only_other)}"
        else:
            row = next(i for i, (a, b) in enumerate(zip(first.problems, arm.problems, strict=True)) if a != b)
            detail = f"row {row} is {first.problems[row]!r} in one and {arm.problems[row]!r} in the other"
        raise StudyError(
            f"arms {first.name!r} and {arm.name!r} do not hold the same problems in the same order ({detail}); "
            f"paired statistics need every arm on every problem"
        )
    return first.problems


def arm_named(arms: Sequence[ArmData], name: str) -> ArmData:
    """The arm of that name; a StudyError lists the allowed ones."""
    for arm in arms:
        if arm.name == name:
            return arm
    raise StudyError(f"no arm is named {name!r}; allowed: {', '.join(arm.name for arm in arms)}")


def _some(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return ", ".join(repr(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
