"""A claim's findings as titled columns and remarks; it computes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from isoflop.claim.choices import FAMILIES
from isoflop.claim.hypotheses import LEVEL, Claim, Estimate, Level
from isoflop.report.layout import Column
from isoflop.report.units import p_value, percent, points


def sections(claim: Claim) -> list[tuple[str, list[Column]]]:
    """Accuracies, differences at equal FLOPs and seconds, the other hypotheses' numbers, controls."""
    title = (
        f"{claim.problems} problems, {claim.training_seeds} training seeds: accuracy % at budgets of the unit's FLOPs"
    )
    found = [(title, _accuracies(claim)), ("Differences at equal FLOPs", _differences(claim.rows))]
    if claim.seconds:
        found.append(("Differences at equal throughput seconds", _differences(claim.seconds)))
    others = {"C(8) - T(16)": claim.wide, "(C - T) - (S - B) at 8": claim.interaction}
    others |= {f"C - T, {name}": one for name, one in claim.protocols.items()}
    found.append(("The other hypotheses", _estimates(others)))
    if claim.controls:  # perhaps on fewer problems than the rest
        levels = Column("accuracy (cost)", tuple(map(_level, claim.control_levels.values())))
        found.append(("C at 8 units less each control", [*_estimates(claim.controls), levels]))
    return found


def notes(claim: Claim) -> list[str]:
    """The headline, each verdict, and what the columns mean."""
    verdicts = [
        f"{name} {'supported' if one.supported else 'NOT supported'}: {one.reason}"
        for name, one in claim.verdicts.items()
    ]
    sure = f"{100 * (1 - LEVEL):g}%"
    means = f"Intervals 95%, p one-sided, lower the one-sided {sure} bound: bootstrap over problems and training seeds."
    return [claim.headline, *verdicts, f"{means} Not supported is not refuted."]


def _accuracies(claim: Claim) -> list[Column]:
    budgets = list(claim.levels)
    columns = [Column("budget", tuple(map(str, budgets)), left=True)]
    for family in FAMILIES:
        own = [claim.levels[budget][family] for budget in budgets]
        columns.append(Column(f"{family} (cost)", tuple(_level(one) for one in own)))
    return columns


def _level(one: Level) -> str:
    low, high = one.interval
    return f"{percent(one.accuracy)} [{percent(low)}, {percent(high)}] ({one.cost:.2f})"


def _differences(rows: Mapping[int, Mapping[str, Estimate]]) -> list[Column]:
    return _estimates({f"{name} at {budget}": one for budget, own in rows.items() for name, one in own.items()})


def _estimates(found: Mapping[str, Estimate]) -> list[Column]:
    ones = list(found.values())
    return [
        Column("difference", tuple(found), left=True),
        Column("points", tuple(points(one.value) for one in ones)),
        Column("95 % interval", tuple(f"{points(one.interval[0])} to {points(one.interval[1])}" for one in ones)),
        Column("lower", tuple(points(one.lower) for one in ones)),
        Column("p", tuple(p_value(one.p) for one in ones)),
        Column("seeds above 0", tuple(f"{sum(v > 0 for v in one.by_seed)}/{len(one.by_seed)}" for one in ones)),
    ]
