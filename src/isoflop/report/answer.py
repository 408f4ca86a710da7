"""The answer for every budget: which arm wins, by how much, and whether these problems can tell.

A budget is a ceiling on the mean cost per problem. The arms within it are compared as they are, so the answer changes
only where a budget lets another arm in: there are as many answers as arms, and all are worked out here. The winner is
the most accurate arm within the budget that does not see the gold answer. It was chosen on the very problems that judge
it, so its p-values are adjusted (Holm) over all arms that it was chosen from; the report calls them exploratory.

    for answer in answers(table, axis):
        print(answer.budget, answer.sentence)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from isoflop.report.arms import ArmSummary
from isoflop.report.budget import Axis
from isoflop.report.table import Table
from isoflop.report.units import p_value, percent, points
from isoflop.stats.intervals import Interval
from isoflop.stats.paired import PairedTest, difference_interval, holm

LEVEL = 0.05


@dataclass(frozen=True)
class Rival:
    """The winner against another arm within the budget: `difference` is the winner's accuracy minus the rival's."""

    label: str
    difference: float
    interval: Interval
    p: float
    p_holm: float

    @property
    def told_apart(self) -> bool:
        """Whether these problems tell the two apart."""
        return self.p_holm < LEVEL


@dataclass(frozen=True)
class Answer:
    """Holds from `budget` up to the next answer's. `rivals` are the other arms within it, the most accurate first."""

    budget: float
    winner: str
    sentence: str
    details: tuple[str, ...]
    clear: bool
    rivals: tuple[Rival, ...]


class Pairs:
    """All paired tests of a table's complete arms, either way round."""

    def __init__(self, table: Table) -> None:
        data = {arm.label: arm.data for arm in table.arms if arm.complete and arm.data is not None}
        self._tests: Mapping[frozenset[str], PairedTest] = {
            frozenset((test.a, test.b)): test for test in table.comparison.tests
        }
        self._intervals = {
            (a, b): difference_interval(data[a], data[b])
            for a, b in combinations(data, 2)
            if frozenset((a, b)) in self._tests
        }

    def test(self, a: str, b: str) -> PairedTest:
        """The test of the two, whichever was named first."""
        return self._tests[frozenset((a, b))]

    def difference(self, a: str, b: str) -> tuple[float, Interval]:
        """Accuracy of a minus that of b, with its interval."""
        test = self.test(a, b)
        value = test.difference if test.a == a else -test.difference
        if (a, b) in self._intervals:
            return value, self._intervals[a, b]
        found = self._intervals[b, a]
        return value, Interval(-found.high, -found.low, found.method, found.level)


def answers(table: Table, axis: Axis, pairs: Pairs) -> tuple[Answer, ...]:
    """The answers along one axis, the smallest budget first; none where no arm is complete."""
    known = [(cost, arm) for arm in table.arms if may_win(arm) and (cost := axis.of(arm))]
    known.sort(key=lambda pair: (pair[0], -(pair[1].accuracy or 0.0)))
    thresholds = sorted({cost for cost, _ in known})
    return tuple(_answer(table, axis, pairs, at, [arm for cost, arm in known if cost <= at]) for at in thresholds)


def may_win(arm: ArmSummary) -> bool:
    """Whether an arm is complete, and chooses without the gold answer: oracles are upper bounds, no way to solve."""
    return arm.complete and not _sees_gold(arm)


def _sees_gold(arm: ArmSummary) -> bool:
    return arm.arm.strategy.sees_gold or (arm.arm.reward is not None and arm.arm.reward.sees_gold)


def _answer(table: Table, axis: Axis, pairs: Pairs, budget: float, within: Sequence[ArmSummary]) -> Answer:
    """`within`: the arms within the budget, the cheapest first."""
    ranked = sorted(within, key=lambda arm: -(arm.accuracy or 0.0))  # stable: of equals, the cheapest is first
    winner, *others = ranked
    adjusted = holm([pairs.test(winner.label, other.label).p for other in others])
    rivals = tuple(
        Rival(other.label, *pairs.difference(winner.label, other.label), pairs.test(winner.label, other.label).p, p)
        for other, p in zip(others, adjusted, strict=True)
    )
    clear = bool(rivals) and rivals[0].told_apart
    return Answer(
        budget=budget,
        winner=winner.label,
        sentence=_sentence(axis, winner, rivals, others[0] if others else None),
        details=tuple(_details(table, axis, pairs, winner, within, rivals)),
        clear=clear,
        rivals=rivals,
    )


def _sentence(axis: Axis, winner: ArmSummary, rivals: Sequence[Rival], next_best: ArmSummary | None) -> str:
    cost = axis.said(axis.of(winner) or 0.0)
    share = f"{percent(winner.accuracy)} % of {winner.n} problems"
    if not rivals or next_best is None:
        return f"{winner.label} solves {share} at {cost} per problem; no other arm is within this budget."
    best = rivals[0]
    evidence = f"95 % interval {_range(best.interval)}, paired {_p(best.p_holm)}"
    if best.difference <= 0:
        dearer = " for more" if (axis.of(next_best) or 0.0) > (axis.of(winner) or 0.0) else ""
        return (
            f"{winner.label} solves {share} at {cost}, as many as {best.label}{dearer}; with these {winner.n} "
            f"problems the two are not distinguishable ({evidence})."
        )
    more = points(best.difference).removeprefix("+")
    lead = f"{winner.label} solves the most, {share} at {cost}: {more} points more than {best.label}"
    if best.told_apart:
        return f"{lead} ({evidence})."
    return f"{lead}, which is not distinguishable with these {winner.n} problems ({evidence})."


def _details(
    table: Table,
    axis: Axis,
    pairs: Pairs,
    winner: ArmSummary,
    within: Sequence[ArmSummary],
    rivals: Sequence[Rival],
) -> list[str]:
    found = []
    alike = {rival.label for rival in rivals if not rival.told_apart}
    cheapest = next((arm for arm in within if arm.label in alike), None)
    if cheapest is not None and (axis.of(cheapest) or 0.0) < (axis.of(winner) or 0.0):
        found.append(
            f"The cheapest arm that these problems cannot tell from it is {cheapest.label}: "
            f"{percent(cheapest.accuracy)} % at {axis.said(axis.of(cheapest) or 0.0)}."
        )
    reference = table.study.reference
    if reference is not None and reference != winner.label and reference in {arm.label for arm in within}:
        test = pairs.test(winner.label, reference)
        difference, interval = pairs.difference(winner.label, reference)
        declared = "not declared" if test.p_holm is None else f"Holm over the declared tests: {_p(test.p_holm)}"
        found.append(
            f"Against the reference {reference}: {points(difference)} points ({_range(interval)}), "
            f"{_p(test.p)} ({declared})."
        )
    if bounds := [arm.label for arm in table.arms if arm.complete and _sees_gold(arm)]:
        found.append(f"Left out, as they see the gold answer: {', '.join(bounds)}.")
    if rivals:
        method = pairs.test(winner.label, rivals[0].label).method
        over = f", adjusted by Holm over the {len(rivals)} arms it was chosen from" if len(rivals) > 1 else ""
        found.append(f"Paired p: two-sided, {method}{over}. Chosen on the problems that judge it: exploratory.")
    return found


def _range(interval: Interval) -> str:
    return f"{points(interval.low)} to {points(interval.high)}"


def _p(p: float) -> str:
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"
