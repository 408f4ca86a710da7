"""Who wins at equal FLOPs: the Pareto frontier, accuracy at a budget, FLOPs at an accuracy, and what is paid for.

Between two arms lies their mixture: solve a share of the problems with one, the rest with the other; accuracy and mean
FLOPs are then both linear in the share. The best mixtures of a family are the upper concave hull of its arms. It is
never extrapolated: outside the family's range of mean FLOPs (or accuracy) the answer is None. A budget is a ceiling, so
an arm that costs more and solves less is never used.

Taking the best of several arms on the problems that then judge it flatters the family. So arms are chosen on `dev`
data, or, without it, on the other folds of problems (cross-fitting), and the bootstrap repeats the choice. Mean FLOPs,
which say nothing about what is right, come from all the problems judged. Where arms of a family are equally good at
equal cost the choice flips between resamples, and simulated 95 % intervals then cover 97 to 99 %: drop such twins, or
choose on dev, for the sharpest test.

    accuracy_at_budget(family, 4e12)                   # Estimate(value=0.41, interval=Interval(0.35, 0.47, ...))
    difference_at_budget(rebase_arms, vote_arms, 4e12) # .p, .interval

Equal-compute comparison: Snell et al., arXiv 2408.03314; cross-fitting: Chernozhukov et al., arXiv 1608.00060.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData, Floats, Integers, require_same_problems
from isoflop.stats.intervals import LEVEL, Interval, percentile_interval, resample_counts

FOLDS = 5
CHOICES = 1000  # bootstrap resamples, each of which chooses the arms anew
_ROUNDING = 1e-9  # relative: an arm's own mean is inside the range, however it was summed


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value at a budget (or the FLOPs at an accuracy), with its bootstrap interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy of family a minus that of family b at one budget of mean FLOPs."""

    budget_flops: float
    value: float
    interval: Interval
    p: float


def pareto_frontier(arms: Sequence[ArmData]) -> tuple[ArmData, ...]:
    """The arms that no other arm beats: none is as accurate for fewer FLOPs, nor better for as few; cheapest first."""
    require_same_problems(arms)
    frontier: list[ArmData] = []
    for arm in sorted(arms, key=lambda arm: (arm.mean_flops, -arm.accuracy)):
        if not frontier or arm.accuracy > frontier[-1].accuracy:
            frontier.append(arm)
    return tuple(frontier)


def mixture_hull(arms: Sequence[ArmData]) -> tuple[ArmData, ...]:
    """The arms whose mixtures are best, cheapest first: the upper concave hull up to the most accurate arm.

    A picture of these very problems; `accuracy_at_budget` is the estimate that a choice of arms does not flatter.
    """
    require_same_problems(arms)
    flops = np.array([arm.mean_flops for arm in arms])
    return tuple(arms[i] for i in upper_hull(flops, np.array([arm.accuracy for arm in arms])))


def accuracy_at_budget(
    family: Sequence[ArmData],
    budget_flops: float,
    *,
    dev: Sequence[ArmData] | None = None,
    folds: int = FOLDS,
    resamples: int = CHOICES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate | None:
    """Accuracy of the best mixture of two arms whose mean FLOPs are at most the budget; None outside the range."""
    chooser = _Chooser.of(family, dev, folds, seed)
    if not chooser.covers(budget_flops):
        return None
    redrawn = [chooser.accuracy(budget_flops, counts) for counts in _rows(len(family[0].problems), resamples, seed)]
    return Estimate(chooser.accuracy(budget_flops), percentile_interval(np.array(redrawn), level))


def difference_at_budget(
    a: Sequence[ArmData],
    b: Sequence[ArmData],
    budget_flops: float,
    *,
    dev: tuple[Sequence[ArmData], Sequence[ArmData]] | None = None,
    folds: int = FOLDS,
    resamples: int = CHOICES,
    level: float = LEVEL,
    seed: int = 0,
) -> Difference | None:
    """Accuracy of family a minus family b, both at the budget on the same problems; None outside either range.

    The p-value is two-sided from the same bootstrap as the interval: twice the smaller share of differences on one
    side of zero, never below 2 / (resamples + 1). `dev` holds the families' dev data, a's first.
    """
    problems = require_same_problems([*a, *b])
    choosers = [_Chooser.of(arms, dev[i] if dev else None, folds, seed) for i, arms in enumerate((a, b))]
    if not all(chooser.covers(budget_flops) for chooser in choosers):
        return None

    def difference(counts: Integers | None) -> float:
        first, second = (chooser.accuracy(budget_flops, counts) for chooser in choosers)
        return first - second

    redrawn = np.array([difference(counts) for counts in _rows(len(problems), resamples, seed)])
    one_sided = min((redrawn <= 0).sum(), (redrawn >= 0).sum())
    p = min(1.0, 2 * (int(one_sided) + 1) / (resamples + 1))
    return Difference(budget_flops, difference(None), percentile_interval(redrawn, level), p)


def flops_at_accuracy(
    family: Sequence[ArmData],
    accuracy: float,
    *,
    dev: Sequence[ArmData] | None = None,
    folds: int = FOLDS,
    resamples: int = CHOICES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate | None:
    """The smallest budget at which the family's accuracy reaches the target; None outside the range of accuracies.

    Where a resample never reaches the target its FLOPs count as infinite, so the interval's upper end may be.
    """
    chooser = _Chooser.of(family, dev, folds, seed)
    flops, reached = chooser.knots()
    if not reached[0] - _ROUNDING <= accuracy <= reached.max() + _ROUNDING:
        return None
    rows = _rows(len(family[0].problems), resamples, seed)
    redrawn = [_first_crossing(*chooser.knots(counts), accuracy) for counts in rows]
    return Estimate(_first_crossing(flops, reached, accuracy), percentile_interval(np.array(redrawn), level))


@dataclass(frozen=True, eq=False)
class _Chooser:
    """A family's accuracy at any budget, its arms chosen apart from the problems that judge them.

    `correct` and `flops` are [problems, arms]; `judged` [parts, problems] marks the problems of each part, and
    `chosen_on` [parts, arms] holds dev accuracies, None where the choice is made on the other parts.
    """

    correct: Floats
    flops: Floats
    judged: Floats
    chosen_on: Floats | None

    @classmethod
    def of(cls, family: Sequence[ArmData], dev: Sequence[ArmData] | None, folds: int, seed: int) -> _Chooser:
        problems = require_same_problems(family)
        correct = np.stack([arm.accuracy_by_problem for arm in family], axis=1)
        flops = np.stack([arm.flops_by_problem for arm in family], axis=1)
        if dev is not None:
            if [arm.name for arm in dev] != [arm.name for arm in family]:
                raise StudyError(
                    f"dev holds the arms {[arm.name for arm in dev]}, the family {[arm.name for arm in family]}; "
                    f"give the same arms in the same order"
                )
            require_same_problems(dev)
            dev_accuracy = np.array([[arm.accuracy for arm in dev]])
            return cls(correct, flops, np.ones((1, len(problems))), dev_accuracy)
        if not 2 <= folds <= len(problems):
            raise StudyError(
                f"{folds} folds of {len(problems)} problems; cross-fitting needs 2 to {len(problems)} folds"
            )
        fold_of = np.random.default_rng(seed).permutation(len(problems)) % folds
        return cls(correct, flops, (fold_of == np.arange(folds)[:, None]).astype(np.float64), None)

    def covers(self, budget_flops: float) -> bool:
        means = self.flops.mean(axis=0)
        return bool(means.min() * (1 - _ROUNDING) <= budget_flops <= means.max() * (1 + _ROUNDING))

    def accuracy(self, budget_flops: float, counts: Integers | None = None) -> float:
        flops, reached = self.knots(counts)
        # Only a resample can have a dearest arm below the budget or a cheapest one above it: that arm then stands in.
        return float(np.interp(budget_flops, flops, reached))

    def knots(self, counts: Integers | None = None) -> tuple[Floats, Floats]:
        """Every arm's mean FLOPs in rising order and the held-out accuracy there; it is linear in between.

        A part's hull bends only where an arm lies, and so does the sum over parts.
        """
        weights = np.ones(len(self.correct)) if counts is None else counts.astype(np.float64)
        flops = weights @ self.flops / weights.sum()
        right = (self.judged * weights) @ self.correct  # [parts, arms]
        # A hull does not depend on the scale of accuracy: sums over the other parts choose as well as means.
        chosen_on = right.sum(axis=0) - right if self.chosen_on is None else self.chosen_on
        at = np.sort(flops)
        reached = np.zeros(len(at))
        for choice, judged in zip(chosen_on, right, strict=True):
            hull = upper_hull(flops, choice)
            reached += np.interp(at, flops[hull], judged[hull])
        return at, reached / weights.sum()


def upper_hull(flops: Floats, accuracy: Floats) -> list[int]:
    """Indices of the upper concave hull, from the cheapest point to the most accurate."""
    hull: list[int] = []
    for i in np.lexsort((-accuracy, flops)):
        if hull and accuracy[i] <= accuracy[hull[-1]]:
            continue
        while len(hull) > 1 and _is_below_chord(hull[-2], hull[-1], i, flops, accuracy):
            hull.pop()
        hull.append(int(i))
    return hull


def _is_below_chord(left: int, middle: int, right: int, flops: Floats, accuracy: Floats) -> bool:
    rise_to_middle = (accuracy[middle] - accuracy[left]) * (flops[right] - flops[left])
    rise_to_right = (accuracy[right] - accuracy[left]) * (flops[middle] - flops[left])
    return bool(rise_to_middle <= rise_to_right)


def _first_crossing(flops: Floats, reached: Floats, accuracy: float) -> float:
    above = np.flatnonzero(reached >= accuracy - _ROUNDING)
    if not above.size:
        return float("inf")
    end = int(above[0])
    if end == 0:
        return float(flops[0])
    share = (accuracy - reached[end - 1]) / (reached[end] - reached[end - 1])
    return float(flops[end - 1] + share * (flops[end] - flops[end - 1]))


def _rows(problems: int, resamples: int, seed: int) -> Iterator[Integers]:
    for counts in resample_counts(problems, resamples, seed):
        yield from counts
