"""Rollouts: whole solutions, and completions from their prefixes that show how good each step was.

It is how step labels are made, not a way of answering better: the answer is the majority of the first n solutions,
which no completion touches. `completions` solutions are drawn from each prefix that ends a visible
step, equal prefixes once, all of them at the same time (Math-Shepherd, arXiv 2312.08935). With `first_error='binary'`
only wrong solutions are looked into, by halves, for the first prefix from which no completion is right (OmegaPRM, arXiv
2406.06592): about log2(steps) prefixes in place of all.

    rollouts(n=8, completions=4, first_error='binary')
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from isoflop.core import Channel, Outcome, StepEnd, Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Expand, Grade, Request, Search, Strategy
from isoflop.specs import require

Prefix = TypeVar("Prefix")
Text = tuple[str, ...]  # the steps of a prefix: equal prefixes are completed once
_WRONG = (Outcome.WRONG, Outcome.NO_ANSWER)


@dataclass(frozen=True)
class Rollouts(Strategy):
    """`rollouts(n=8, completions=4)`: n solutions, and as many completions of each prefix.

    `first_error='every'` completes every prefix, `'binary'` those that a binary search for the first error asks for.
    """

    spec_name: ClassVar[str] = "rollouts"
    sees_gold: ClassVar[bool] = True

    n: int = 8
    completions: int = 4
    first_error: Literal["every", "binary"] = "every"

    def __post_init__(self) -> None:
        require(self.n >= 1, f"rollouts(n={self.n}): n is the number of solutions, at least 1")
        require(
            self.completions >= 1,
            f"rollouts(completions={self.completions}): at least 1; outcome labels need none: self_consistency(n=8)",
        )

    def search(self, root: Trajectory) -> Search:
        """Draw solutions, then complete their prefixes."""
        [solutions] = yield Expand((root,), (self.n,), until=Until.END)
        outcomes = yield Grade(solutions)
        if self.first_error == "every":
            known = (Outcome.CORRECT, *_WRONG)
            verified = [node for node, outcome in zip(solutions, outcomes, strict=True) if outcome in known]
            yield from self._complete([prefix for node in verified for prefix in prefixes(node)], {})
        else:
            wrong = [node for node, outcome in zip(solutions, outcomes, strict=True) if outcome in _WRONG]
            yield from self._halve([Halving(prefixes(node)) for node in wrong])
        return solutions  # type: ignore[no-any-return]

    def _halve(self, searches: Sequence[Halving[Trajectory]]) -> Generator[Request, Any, None]:
        """All binary searches side by side: one request completes the middle prefix of each."""
        good: dict[Text, bool] = {}
        while open_ := [each for each in searches if each.open]:
            yield from self._complete([each.middle for each in open_], good)
            for each in open_:
                each.learn(good[texts(each.middle)])

    def _complete(self, wanted: Sequence[Trajectory], good: dict[Text, bool]) -> Generator[Request, Any, None]:
        """Complete what is not yet in `good`, equal prefixes once; note there whether any completion is right."""
        new = {text: node for node in wanted if (text := texts(node)) not in good}
        if not new:
            return
        completed = yield Expand(list(new.values()), [self.completions] * len(new), until=Until.END)
        outcomes = yield Grade([node for siblings in completed for node in siblings])
        for place, text in enumerate(new):
            start = place * self.completions
            good[text] = Outcome.CORRECT in outcomes[start : start + self.completions]


@dataclass(slots=True)
class Halving(Generic[Prefix]):
    """The search for the first bad prefix of a wrong solution: those before `low` are good, from `high` on bad."""

    prefixes: Sequence[Prefix]
    low: int = 0
    high: int = field(init=False)

    def __post_init__(self) -> None:
        self.high = len(self.prefixes)

    @property
    def open(self) -> bool:
        """False when the first bad prefix is known."""
        return self.low < self.high

    @property
    def middle(self) -> Prefix:
        """The prefix to look at next."""
        return self.prefixes[(self.low + self.high) // 2]

    def learn(self, good: bool) -> None:
        """Take what its completions said of the middle."""
        middle = (self.low + self.high) // 2
        self.low, self.high = (middle + 1, self.high) if good else (self.low, middle)


def prefixes(solution: Trajectory) -> list[Trajectory]:
    """The proper prefixes that end a visible step by its delimiter, the shortest first."""
    found: list[Trajectory] = []
    node = solution.parent
    while node is not None and node.step is not None:
        if node.step.channel is Channel.VISIBLE and node.step.end is StepEnd.DELIMITER:
            found.append(node)
        node = node.parent
    return found[::-1]


def texts(node: Trajectory) -> Text:
    """What names a prefix, whichever solution it was drawn for."""
    return tuple(step.text for step in node.steps)
