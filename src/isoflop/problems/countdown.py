"""Countdown: make a target of given numbers by + - *. Here choices go wrong, not sums: what search is for.

Each number is used exactly once, and no result is below zero. A step is a line that takes two numbers and says what is
left; many solutions are right. The rules are in `isoflop/countdown.py`.

    15 from 3 7 12?                                   12 - 7 = 5, left 3 5
                                                      5 * 3 = 15, left 15

Steps end with their lines. The prompt (a solution cut off may end its line, nothing is forced):

    parse("prompt", "plain(answer_prefix='')")

The task of Stream of Search (arXiv 2404.03683), without division.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from random import Random
from typing import ClassVar, Self

from isoflop.core import Problem, Trajectory
from isoflop.countdown import OPERATIONS, Numbers, move, play, reachable
from isoflop.problems.base import StepOracle
from isoflop.problems.generated import Generated, identifier
from isoflop.specs import require

MOST_NUMBERS = 6  # with more, the exhaustive search of the oracle takes too long


@dataclass(frozen=True)
class Countdown(Generated):
    """`n_numbers` numbers from 1 to `largest`, and a target between the two bounds that a random play of them reached.

    ood: one number more. `meta` holds the `numbers`, the `target` and, as `solution`, that play.
    """

    spec_name: ClassVar[str] = "countdown"

    n_numbers: int = 4
    largest: int = 20
    target: tuple[int, ...] = (10, 99)
    _: KW_ONLY
    grader: str = "countdown()"

    def __post_init__(self) -> None:
        super().__post_init__()
        within = 3 <= self.n_numbers <= MOST_NUMBERS
        require(within, f"n_numbers={self.n_numbers} must lie between 3 and {MOST_NUMBERS}")
        require(self.largest >= 10, f"largest={self.largest} must be at least 10, or there are few problems")
        require(
            len(self.target) == 2 and 0 <= self.target[0] <= self.target[1],
            f"target={list(self.target)} must be the lowest and the highest target, as in [10, 99]",
        )

    def harder(self) -> Self:
        """One number more. Raises SpecError where there is the most already."""
        return replace(self, n_numbers=self.n_numbers + 1)

    def draw(self, random: Random) -> Problem | None:
        """A random play, if it ends within the bounds."""
        numbers = tuple(sorted(random.randint(1, self.largest) for _ in range(self.n_numbers)))
        lines, left = [], numbers
        while len(left) > 1:
            low, high = sorted(random.sample(range(len(left)), 2))
            line, left = move(left, low, high, random.choice(list(OPERATIONS)))
            lines.append(line)
        if not self.target[0] <= left[0] <= self.target[1]:
            return None
        gold = f"{left[0]} from {' '.join(map(str, numbers))}"
        meta = {"numbers": numbers, "target": left[0], "solution": "\n".join(lines)}
        return Problem(identifier(self.spec_name, gold), f"{gold}?", gold, meta)

    def step_oracle(self) -> StepOracle:
        """Exact: whether the target can still be made of what is left."""
        return is_still_reachable


def is_still_reachable(trajectory: Trajectory) -> bool:
    """Whether all finished lines keep the rules and leave a way to the target; a complete solution must have made it.

    A line that was cut off before its end says nothing yet.
    """
    meta = trajectory.origin.problem.meta
    *lines, last = trajectory.visible_text.split("\n")
    left: Numbers | None = tuple(meta["numbers"])
    for line in [*lines, last] if trajectory.finished else lines:
        if left is not None and line.strip():
            left = play(left, line)
    if left is None:
        return False
    return left == (meta["target"],) if trajectory.finished else reachable(left, meta["target"])
