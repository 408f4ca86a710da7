"""The panels that figures are made of: accuracy against a cost, the published "efficiency score", accuracy by k.

Every panel states its units, shows 95 % intervals, and draws each family in its look. A panel whose numbers do not
exist says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from isoflop.report.arms import ArmSummary
from isoflop.report.comparison import measures_of, score_interval
from isoflop.report.placing import Name, place_names
from isoflop.report.pools import PoolCurves
from isoflop.report.style import GREY, LIGHT, Look
from isoflop.report.units import three_digits
from isoflop.stats.frontier import mixture_hull, pareto_frontier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMES_MARGIN = 1.35  # room on the right for names
_MOST_TICKS = 5  # of a logarithmic axis: more would run into each other
Looks = dict[str, Look]
Cost = Callable[[ArmSummary], float | None]
_CURVE_LOOKS = {
    "pass@k": ("#332288", "o", "-"),
    "weighted@k": ("#117733", "D", "-"),
    "best@k": ("#0077AA", "v", "-."),
    "maj@k": ("#CC6677", "^", "--"),
}


def accuracy_against(axes: Axes, arms: Sequence[ArmSummary], looks: Looks, cost: Cost, label: str) -> None:
    """Points with intervals, a line through each family; the cost on a logarithmic scale."""
    known = [(arm, value) for arm in arms if (value := cost(arm)) and arm.accuracy is not None]
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy (%)")
    if not known:
        _say(axes, "not measured by this engine")
        return
    axes.set_xscale("log")
    axes.grid(axis="y")
    for family in {id(looks[arm.label]): looks[arm.label] for arm, _ in known}.values():
        points = sorted((value, 100 * (arm.accuracy or 0.0), arm) for arm, value in known if looks[arm.label] is family)
        _family(axes, [(x, y, arm) for x, y, arm in points], family)
    _nice_limits(axes, [value for _, value in known])


def _family(axes: Axes, points: Sequence[tuple[float, float, ArmSummary]], look: Look) -> None:
    for x, _, arm in points:
        if (interval := arm.interval) is not None:
            ends = [100 * interval.low, 100 * interval.high]
            axes.plot([x, x], ends, color=look.colour, linewidth=1.0, alpha=0.35, solid_capstyle="butt", zorder=2)
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(xs, ys, color=look.colour, linewidth=1.3, zorder=3)
    axes.plot(
        xs, ys, look.marker, color=look.colour, markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, zorder=4
    )


def names_beside(axes: Axes, arms: Sequence[ArmSummary], looks: Looks, cost: Cost) -> int:
    """The arms' names beside their points, where there is room; call it last, when the page is laid out."""
    names = [
        Name(arm.label, value, 100 * arm.accuracy, looks[arm.label].colour)
        for arm in arms
        if (value := cost(arm)) and arm.accuracy is not None
    ]
    return place_names(axes, names)


def frontier(axes: Axes, arms: Sequence[ArmSummary], scale: float) -> None:
    """The Pareto frontier as steps, and the best mixtures of two arms: straight in FLOPs, so bent on a log scale."""
    import numpy as np

    data = [arm.data for arm in arms if arm.data is not None and arm.complete]
    if len(data) < 2:
        return
    best = pareto_frontier(data)
    right, bottom = _NAMES_MARGIN * axes.get_xlim()[1], axes.get_ylim()[0]
    axes.set_xlim(right=right)
    xs = [arm.mean_flops / scale for arm in best] + [right]
    ys = [100 * arm.accuracy for arm in best] + [100 * best[-1].accuracy]
    axes.fill_between(xs, ys, bottom, step="post", color=LIGHT, alpha=0.35, linewidth=0, zorder=0)
    axes.set_ylim(bottom=bottom)
    axes.step(xs, ys, where="post", color=GREY, linewidth=0.9, zorder=1, label="Pareto frontier")
    hull = mixture_hull(data)
    if len(hull) > 1:
        flops, accuracy = [arm.mean_flops / scale for arm in hull], [100 * arm.accuracy for arm in hull]
        grid = np.geomspace(flops[0], flops[-1], 200)
        mixed = np.interp(grid, flops, accuracy)
        axes.plot(grid, mixed, ":", color=GREY, linewidth=1.1, zorder=1, label="best mixture of two arms")


def efficiency_score(axes: Axes, arms: Sequence[ArmSummary], looks: Looks) -> None:
    """The published score, one row an arm: (accuracy % / TFLOP) x (accuracy % / s) x 100, on a logarithmic scale.

    Its rows name every arm beside its marker, which makes it the key to the panels next to it.
    """
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks(range(len(arms)), [arm.label for arm in arms])
    axes.tick_params(axis="y", length=0, pad=14)
    for row, arm in enumerate(arms):
        look, beside = looks[arm.label], axes.get_yaxis_transform()
        axes.plot(-0.035, row, look.marker, color=look.colour, markersize=6, transform=beside, clip_on=False)
    scored = [(row, arm, found.efficiency_score) for row, arm in enumerate(arms) if (found := measures_of(arm))]
    positive = [(row, arm, score) for row, arm, score in scored if score > 0]
    axes.set_xlabel("efficiency score (% / TFLOP × % / s × 100)")
    if not positive:
        axes.set_xticks([])
        _say(axes, "needs seconds, which\nthis engine does not measure")
        return
    axes.set_xscale("log")
    axes.grid(axis="x")
    for row, arm, score in positive:
        colour = looks[arm.label].colour
        interval = score_interval(arm)
        if interval is not None and interval.low > 0:
            axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=4.5, alpha=0.3)
        axes.plot(score, row, "|", color=colour, markersize=11, markeredgewidth=2.2)
        axes.annotate(three_digits(score), (score, row), (0, 6), textcoords="offset points", ha="center", fontsize=6.5)
    for row, _, score in scored:
        if score == 0:  # nothing right: a logarithmic scale has no place for it
            axes.text(0.02, row, "0", transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    _nice_limits(axes, [score for _, _, score in positive])


def accuracy_by_k(axes: Axes, pool: PoolCurves) -> None:
    """The curves of one pool over k, with the bootstrap interval at the largest k and names at the ends."""
    axes.set_xlabel("samples k")
    axes.set_ylabel("accuracy (%)")
    axes.grid(axis="y")
    ends: list[Name] = []
    for curve in pool.curves:
        colour, marker, line = _CURVE_LOOKS[curve.measure]
        interval = curve.interval(curve.k[-1])
        k = curve.k
        axes.plot(k, 100 * curve.accuracy, line, marker=marker, color=colour, markersize=4, linewidth=1.3)
        axes.plot([k[-1]] * 2, [100 * interval.low, 100 * interval.high], color=colour, alpha=0.35)
        ends.append(Name(curve.measure, k[-1], 100 * float(curve.accuracy[-1]), colour))
    largest = pool.curves[0].k[-1]
    axes.set_xscale("log", base=2)
    ticks = [2**i for i in range(largest.bit_length()) if 2**i <= largest]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(0.9, largest * 1.9)
    place_names(axes, ends, size=8)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _nice_limits(axes: Axes, values: Sequence[float]) -> None:
    """Room on both sides, and ticks written as plain numbers: at least two of them, also within one decade."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    margin = max(1.35, (max(values) / min(values)) ** 0.12)
    low, high = min(values) / margin, max(values) * margin
    axes.set_xlim(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = [
        [tick for tick in (step * 10.0**decade for decade in decades for step in steps) if low <= tick <= high]
        for steps in ((1, 1.5, *range(2, 10)), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
    ]
    ticks = next((ticks for ticks in choices if len(ticks) <= _MOST_TICKS), choices[-1][:: len(choices[-1]) // 4 or 1])
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
