"""What a table says, as rows of text: shared by terminal and Markdown, which only lay it out.

columns, rows = arm_columns(table), ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.core import Outcome, Stop
from isoflop.report.arms import ArmSummary
from isoflop.report.comparison import EqualCost, measures_of
from isoflop.report.pools import PoolCurves
from isoflop.report.units import NOTHING, p_value, percent, points, three_digits, unit_for
from isoflop.stats.paired import PairedTest, minimum_detectable_difference

if TYPE_CHECKING:
    from isoflop.report.table import Table


PARETO = "◆"


@dataclass(frozen=True)
class Column:
    """A heading and its cells, one a row; `left` aligned or right."""

    heading: str
    cells: tuple[str, ...]
    left: bool = False

    @property
    def width(self) -> int:
        """The widest cell."""
        return max(map(len, [*self.heading.split("\n"), *self.cells]))


def sections(table: Table, *, exploratory: bool = False) -> list[tuple[str, list[Column]]]:
    """All titled parts that have rows, the arms first."""
    found = [(heading(table), arm_columns(table)), ("Declared tests", paired_columns(table, exploratory=False))]
    if exploratory:
        found.append(("Exploratory pairs: not declared, not corrected", paired_columns(table, exploratory=True)))
    found.append(("At equal FLOPs, against the reference's family", equal_columns(table, "reference")))
    found.append(("At equal FLOPs, against the best mixture of all other families", equal_columns(table, "others")))
    for pool in table.pools:
        others = f" and {len(pool.arms) - 1} more" if len(pool.arms) > 1 else ""
        found.append((f"Every k from one pool, that of {pool.arms[0]}{others}", pool_columns(pool)))
    return [(title, columns) for title, columns in found if columns[0].cells]


def arm_columns(table: Table) -> list[Column]:
    """All columns of the arms' table, the most important first."""
    arms, comparison = table.arms, table.comparison
    unit = unit_for(arm.flops_per_problem for arm in arms)

    def flops(book: Callable[[ArmSummary], float | None]) -> list[str]:
        return [three_digits(None if (value := book(arm)) is None else value / unit.size) for arm in arms]

    measures = [measures_of(arm) for arm in arms]
    found: list[tuple[str, Sequence[str]]] = [
        ("accuracy % [95 %]", [_accuracy(arm) for arm in arms]),
        (unit.name, flops(lambda arm: arm.flops_per_problem)),
        ("seconds", [three_digits(arm.seconds_per_problem) for arm in arms]),
        ("tokens", [three_digits(arm.tokens_per_problem) for arm in arms]),
        (PARETO, [PARETO if arm.label in comparison.pareto else "" for arm in arms]),
        ("correct", [_correct(arm) for arm in arms]),
        (f"J λ={comparison.lam:g}", [three_digits(comparison.utility.get(arm.label)) for arm in arms]),
        (f"{unit.name} spent", flops(lambda arm: arm.per_problem("flops", spent=True))),
        (f"{unit.name} naive", flops(lambda arm: arm.per_problem("naive_flops"))),
        *(
            (f"{unit.name} {role}", flops(lambda arm, role=role: arm.per_problem("flops", role)))  # type: ignore[misc]
            for role in dict.fromkeys(role for arm in arms for role in arm.roles if role != "policy")
        ),
        ("acc/TFLOP", [three_digits(None if one is None else one.accuracy_per_tflop) for one in measures]),
        ("acc/s", [three_digits(None if one is None else one.accuracy_per_second) for one in measures]),
        ("efficiency score", [three_digits(None if one is None else one.efficiency_score) for one in measures]),
    ]
    columns = [Column("strategy", tuple(_name(table, arm) for arm in arms), left=True)]
    columns += [Column(heading, tuple(cells)) for heading, cells in found]
    return [column for column in columns if set(column.cells) - {NOTHING, "", "0"}]


def paired_columns(table: Table, *, exploratory: bool) -> list[Column]:
    """The declared tests, or all pairs that were not declared."""
    tests = [test for test in table.comparison.tests if test.exploratory == exploratory]
    columns = [
        Column("arm", tuple(test.a for test in tests), left=True),
        Column("against", tuple(test.b for test in tests), left=True),
        Column("points", tuple(points(test.difference) for test in tests)),
        Column("won", tuple(str(test.a_only) for test in tests)),
        Column("lost", tuple(str(test.b_only) for test in tests)),
    ]
    if not exploratory:
        columns.append(Column("p Holm", tuple(p_value(test.p_holm) for test in tests)))
    return [*columns, Column("p", tuple(p_value(test.p) for test in tests))]


def equal_columns(table: Table, against: str) -> list[Column]:
    """Every arm beside the best mixture of its rivals at equal FLOPs; nothing where all would be extrapolated."""
    rows = [row for row in table.comparison.equal if row.against == against and row.difference is not None]
    own = {arm.label: arm for arm in table.arms}
    return [
        Column("arm", tuple(row.arm for row in rows), left=True),
        Column("rivals %", tuple(percent(None if row.accuracy is None else row.accuracy.value) for row in rows)),
        Column("points", tuple(NOTHING if row.difference is None else points(row.difference.value) for row in rows)),
        Column("95 % interval", tuple(_difference_interval(row) for row in rows)),
        Column("their FLOPs", tuple(_flops_ratio(row, own[row.arm]) for row in rows)),
    ]


def pool_columns(pool: PoolCurves) -> list[Column]:
    """One row a k: 1, 2, 4, ... and the largest."""
    largest = pool.curves[0].k[-1]
    shown = sorted({2**power for power in range(largest.bit_length())} | {largest})
    columns = [Column("k", tuple(map(str, shown)))]
    for curve in pool.curves:
        columns.append(Column(f"{curve.measure} %", tuple(percent(float(curve.accuracy[k - 1])) for k in shown)))
    return columns


def heading(table: Table) -> str:
    """The study in one line."""
    study, arms = table.study, len(table.arms)
    n = max((arm.n for arm in table.arms), default=0)
    seeds = f" x {len(study.seeds)} seeds" if len(study.seeds) > 1 else ""
    return f"{study.name}: {n} problems{seeds}, {arms} arm{'s' * (arms > 1)}, {study.split}"


def notes(table: Table) -> list[str]:
    """What must be said beside the numbers: what is incomplete, what was counted as wrong, what the units are."""
    found = [line for arm in table.arms for line in _incomplete(arm)]
    found += [f"not tested: {a} against {b}, because {reason}" for (a, b), reason in table.comparison.refused.items()]
    found += _counted(table.arms)
    if cut := [arm.label for arm in table.arms if not arm.arm.strategy.closes]:
        found.append(f"voted on as cut, nothing force-closed, as in the published study: {'; '.join(cut)}")
    for arm in table.arms:
        if arm.thoughts is not None:
            found.append(f"{arm.label}: {arm.thoughts}")
    if lost := table.lost_flops():
        unit = unit_for([lost])
        found.append(f"lost work (killed or replaced attempts): {three_digits(lost / unit.size)} {unit.name}")
    return [*found, *_definitions(table)]


def _definitions(table: Table) -> list[str]:
    several = len(table.study.seeds) > 1
    interval = "bootstrap by problem" if several else "Wilson"
    test = "permutation of per-problem means" if several else "exact McNemar"
    alone = "FLOPs, seconds and new tokens: per problem, as if the arm ran alone."
    lines = [f"{alone} {PARETO}: no arm is as accurate for fewer FLOPs. Intervals: {interval}."]
    if declared := [test for test in table.comparison.tests if not test.exploratory]:
        lines.append(f"Tests: {test}, two-sided; won and lost: problems that only the one arm solved.")
        lines += _detectable(declared, len(table.study.pairs))
    if any(row.difference for row in table.comparison.equal):
        lines.append(
            "Equal FLOPs: the best mixture of two rival arms at the arm's own mean FLOPs, chosen on other problems "
            "than those it is judged on, never extrapolated; 'their FLOPs': what they need for its accuracy."
        )
    if any(arm.seconds_per_problem for arm in table.arms):
        lines.append("Seconds share each forward pass out over its rows: a model; `isoflop time` measures.")
    if any(measures_of(arm) for arm in table.arms):
        lines.append("acc/TFLOP, acc/s and the efficiency score are the published study's own (arXiv 2412.16260).")
    return lines


def _detectable(declared: Sequence[PairedTest], pairs: int) -> list[str]:
    """What differences so many problems show, at the level that Holm's first step leaves of 5 %."""
    discordant = sum((test.a_only + test.b_only) / test.problems for test in declared) / len(declared)
    if not discordant:
        return []
    level = 0.05 / pairs
    least = minimum_detectable_difference(declared[0].problems, discordant, level=level)
    share = f"{percent(discordant)} % of problems discordant, the mean of the declared tests"
    return [f"Differences below {percent(least)} points will not show (power 0.8, level {level:.2g}, {share})."]


def _incomplete(arm: ArmSummary) -> list[str]:
    lines = []
    if arm.failures:
        lines.append(
            f"INCOMPLETE {arm.label}: {len(arm.failures)} attempts failed (first: {arm.failures[0]}); "
            f"rerun them with --retry-errors"
        )
    unmade = arm.missing - len(arm.failures)
    if unmade:
        lines.append(f"INCOMPLETE {arm.label}: {unmade} attempts are still to make")
    if arm.ungraded:
        lines.append(f"{arm.label}: the problems have no gold answers, so there is no accuracy")
    return lines


def _counted(arms: Sequence[ArmSummary]) -> list[str]:
    """Outcomes and stops that count as wrong or need a word, one line a kind."""
    kinds: dict[str, list[str]] = {}
    for arm in arms:
        counts = {
            "no answer (wrong)": arm.outcomes.get(Outcome.NO_ANSWER, 0),
            "unverifiable (wrong)": arm.outcomes.get(Outcome.UNVERIFIABLE, 0),
            "stopped by the budget": arm.stops.get(Stop.BUDGET, 0),
            "a path cut by depth": arm.stops.get(Stop.DEPTH, 0),
            "no candidates (wrong)": arm.stops.get(Stop.NO_CANDIDATES, 0),
            "ties broken by chance": arm.ties,
        }
        for kind, count in counts.items():
            if count:
                kinds.setdefault(kind, []).append(f"{arm.label} {count}")
        if arm.fallback_answers:
            kinds.setdefault("answers read by fallback", []).append(f"{arm.label} {percent(arm.fallback_share)} %")
    return [f"{kind}: {'; '.join(found)}" for kind, found in kinds.items()]


def _name(table: Table, arm: ArmSummary) -> str:
    marks = ["reference"] if arm.label == table.study.reference else []
    marks += [] if arm.complete else ["incomplete"]
    return f"{arm.label} [{', '.join(marks)}]" if marks else arm.label


def _accuracy(arm: ArmSummary) -> str:
    interval = arm.interval
    if interval is None:
        return NOTHING
    return f"{percent(arm.accuracy)} [{percent(interval.low)}, {percent(interval.high)}]"


def _difference_interval(row: EqualCost) -> str:
    if row.difference is None:
        return NOTHING
    return f"{points(row.difference.interval.low)} to {points(row.difference.interval.high)}"


def _flops_ratio(row: EqualCost, arm: ArmSummary) -> str:
    """What the rivals need for the same accuracy, as a multiple of what the arm takes."""
    if row.flops is None or not arm.flops_per_problem:
        return NOTHING
    return f"x {three_digits(row.flops.value / arm.flops_per_problem)}"


def _correct(arm: ArmSummary) -> str:
    return NOTHING if arm.correct is None else f"{arm.correct:g}/{arm.n}"
