"""A claim's figure: accuracy at every budget by family, the controls, and how far C is above T and S.

    figure_of(Claim.of(evidence, choices)).save("figures")           # claim.png, claim.svg

It computes nothing. Needs the extra `report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoflop.claim.hypotheses import BOUND, Claim, Level
from isoflop.report.figure import Figures, page, styled
from isoflop.report.style import GREY, LIGHT, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {"B": "base + vote", "T": "thoughts + vote", "S": "base + search", "C": "thoughts + search"}
_RIVALS = {"C - T": "over thoughts + vote", "C - S": "over base + search"}


def figure_of(claim: Claim) -> Figures:
    """Raises MissingExtraError without matplotlib."""
    with styled():
        figure, (levels, controls, gaps) = page(11.0, 3.9, 3, [1.25, 1.0, 1.0])
        _levels(levels, claim)
        _controls(controls, claim)
        _gaps(gaps, claim)
        figure.supxlabel(
            f"n = {claim.problems:,} problems, {claim.training_seeds} training seeds; bars: 95 % intervals, bootstrap "
            "over problems and training seeds",
            fontsize=7, color=GREY, x=0.01, ha="left",
        )  # fmt: skip
    return Figures({"claim": figure})


def _levels(axes: Axes, claim: Claim) -> None:
    for place, (family, name) in enumerate(NAMES.items()):
        own, drawn = [claim.levels[budget][family] for budget in claim.levels], look(place)
        axes.errorbar(
            list(claim.levels), [100 * one.accuracy for one in own], yerr=_bars(own), color=drawn.colour,
            marker=drawn.marker, markersize=5, linewidth=1.4, capsize=2, label=name,
        )  # fmt: skip
    _budgets(axes, claim)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy %")
    axes.grid(axis="y")
    axes.set_title("(a) accuracy by budget")
    axes.legend(fontsize=7.5, loc="best")


def _controls(axes: Axes, claim: Claim) -> None:
    """What stands in C's place, best first; hollow: bounds that know the right answer."""
    found = {f"{name}, {one.cost:.1f} units": (name, one) for name, one in claim.control_levels.items()}
    names = sorted(found, key=lambda name: found[name][1].accuracy)
    for place, name in enumerate(names):
        control, level = found[name]
        drawn = look(list(NAMES).index("C")) if control == "C" else None
        axes.errorbar(
            100 * level.accuracy, place, xerr=_bars([level]), color=drawn.colour if drawn else GREY, capsize=2,
            marker=drawn.marker if drawn else "o", markersize=5,
            markerfacecolor="white" if control.startswith(BOUND) else None,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"accuracy %, n = {claim.control_problems:,}; hollow: bounds" if names else "not evaluated")
    axes.grid(axis="x")
    axes.set_title("(b) in the combination's place")


def _gaps(axes: Axes, claim: Claim) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    for name, told in _RIVALS.items():
        own = [row[name] for row in claim.rows.values()]
        drawn = look(list(NAMES).index(name[-1]))
        low = [100 * (one.value - one.interval[0]) for one in own]
        high = [100 * (one.interval[1] - one.value) for one in own]
        axes.errorbar(
            list(claim.rows), [100 * one.value for one in own], yerr=[low, high], color=drawn.colour,
            marker=drawn.marker, markersize=5, linewidth=1.4, capsize=2, label=told,
        )  # fmt: skip
    _budgets(axes, claim)
    axes.set_ylabel("points")
    axes.grid(axis="y", color=LIGHT)
    axes.set_title("(c) thoughts + search is ahead by")
    axes.legend(fontsize=7.5, loc="best")


def _budgets(axes: Axes, claim: Claim) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(claim.levels), list(map(str, claim.levels)))
    axes.minorticks_off()
    axes.set_xlabel("budget: FLOPs, in greedy solutions of the base")


def _bars(levels: list[Level]) -> list[list[float]]:
    low = [100 * (one.accuracy - one.interval[0]) for one in levels]
    return [low, [100 * (one.interval[1] - one.accuracy) for one in levels]]
