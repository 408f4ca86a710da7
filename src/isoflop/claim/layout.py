"""A claim's findings as titled columns and remarks; it computes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from isoflop.claim.choices import FAMILIES
from isoflop.claim.hypotheses import LEVEL, Claim, Estimate, Level, is_overspent
from isoflop.report.layout import Column
from isoflop.report.units import p_value, percent, points


def sections(claim: Claim) -> list[tuple[str, list[Column]]]:
    """Accuracies and differences at budgets of FLOPs and of seconds, the other hypotheses' numbers, controls."""
    many = f"{claim.problems} problems, {claim.training_seeds} training seeds"
    found = [
        (f"{many}: accuracy % at budgets of the unit's FLOPs", _accuracies(claim.levels)),
        ("Differences at budgets of FLOPs", _estimates(_named(claim.rows))),
    ]
    if claim.training_seeds > 1:
        found.append(("Accuracy % (cost) at 8 units, each training seed by itself", _by_seed(claim.levels[8])))
    if claim.seconds:
        late = {budget for budget in claim.seconds if is_overspent(claim.seconds_levels, budget)}
        found.append(("Accuracy % at budgets of the unit's throughput seconds", _accuracies(claim.seconds_levels)))
        found.append(("Differences at budgets of seconds", _estimates(_named(claim.seconds, late))))
    others = {"C(8) - T(16)": claim.wide, "(C - T) - (S - B) at 8": claim.interaction}
    others |= {f"C - T, {name}": one for name, one in claim.protocols.items()}
    found.append(("The other hypotheses", _estimates(others)))
    if claim.controls:
        levels = Column("accuracy (cost)", tuple(_level(claim.control_levels[name]) for name in claim.controls))
        own = _level(claim.control_levels["C"])
        title = f"C at 8 units less each control, {claim.control_problems} problems, where C has {own}"
        found.append((title, [*_estimates(claim.controls), levels]))
    return found


def notes(claim: Claim) -> list[str]:
    """The headline, each verdict, and what the columns mean."""
    verdicts = [
        f"{name} {'supported' if one.supported else 'NOT supported'}: {one.reason}"
        for name, one in claim.verdicts.items()
    ]
    sure = f"{100 * (1 - LEVEL):g}%"
    means = f"Intervals 95%, p one-sided, lower the one-sided {sure} bound: bootstrap over problems and training seeds."
    seeds = f"{claim.training_seeds} training seeds are few: where they differ, p is too small; see each by itself."
    if claim.training_seeds == 1:
        seeds = "One training seed: nothing is drawn anew over seeds, so this says nothing of models trained again."
    return [claim.headline, *verdicts, f"{means} Not supported is not refuted.", seeds]


def _accuracies(levels: Mapping[int, Mapping[str, Level]]) -> list[Column]:
    columns = [Column("budget", tuple(map(str, levels)), left=True)]
    for family in FAMILIES:
        columns.append(Column(f"{family} (cost)", tuple(_level(own[family]) for own in levels.values())))
    return columns


def _by_seed(levels: Mapping[str, Level]) -> list[Column]:
    columns = [Column("training seed", tuple(str(place) for place in range(len(levels["C"].by_seed))), left=True)]
    for family in FAMILIES:
        both = zip(levels[family].by_seed, levels[family].cost_by_seed, strict=True)
        columns.append(Column(family, tuple(f"{percent(right)} ({cost:.2f})" for right, cost in both)))
    return columns


def _level(one: Level) -> str:
    low, high = one.interval
    return f"{percent(one.accuracy)} [{percent(low)}, {percent(high)}] ({one.cost:.2f})"


def _named(rows: Mapping[int, Mapping[str, Estimate]], overspent: Collection[int] = ()) -> dict[str, Estimate]:
    """Rows of one table; where C costs more than the budget, the name says so."""
    return {
        f"{name} at {budget}{', C overspends' if budget in overspent else ''}": one
        for budget, own in rows.items()
        for name, one in own.items()
    }


def _estimates(found: Mapping[str, Estimate]) -> list[Column]:
    ones = list(found.values())
    return [
        Column("difference", tuple(found), left=True),
        Column("points", tuple(points(one.value) for one in ones)),
        Column("95 % interval", tuple(f"{points(one.interval[0])} to {points(one.interval[1])}" for one in ones)),
        Column("lower", tuple(points(one.lower) for one in ones)),
        Column("p", tuple(p_value(one.p) for one in ones)),
        Column("by seed", tuple(" ".join(points(value) for value in one.by_seed) for one in ones)),
    ]
