"""How dev fixes the choices: per family and budget the best mixture of its arms, by dev accuracy, costs at most the
budget. The same rule for every family, so that none is chosen more kindly than another.

    choices = choose(evidence, "greedy", {"B": ["vote 2", "vote 4"], "T": [...], "S": [...], "C": [...]})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isoflop.claim.choices import BUDGETS, FAMILIES, Choices, Mix, Table
from isoflop.claim.evidence import Evidence
from isoflop.errors import StudyError
from isoflop.stats.arms import Floats
from isoflop.stats.frontier import upper_hull

TRIALS = 30  # arms a family may have tried on dev


def choose(evidence: Evidence, unit: str, families: Mapping[str, Sequence[str]]) -> Choices:
    """Raises StudyError for a family with more than 30 arms, or one whose FLOPs are above a budget throughout. Where
    its seconds are, its fastest arm stands: a rival may overspend, and a combination that does is not supported."""
    for name in FAMILIES:
        if not 1 <= len(families.get(name, ())) <= TRIALS:
            raise StudyError(f"family {name} has {len(families.get(name, ()))} arms; dev may try 1 to {TRIALS}")
    flops = evidence.flops.mean(axis=(1, 2))
    return Choices(
        unit,
        _table(evidence, unit, families, flops, strict=True),
        {}
        if evidence.seconds is None
        else _table(evidence, unit, families, evidence.seconds.mean(axis=1), strict=False),
    )


def _table(
    evidence: Evidence, unit: str, families: Mapping[str, Sequence[str]], cost: Floats, *, strict: bool
) -> Table:
    one = cost[evidence.place(unit)]
    return {
        budget: {
            name: _mix(evidence, families[name], cost, budget * one, f"{name} at {budget}" if strict else None)
            for name in FAMILIES
        }
        for budget in BUDGETS
    }


def _mix(evidence: Evidence, labels: Sequence[str], cost: Floats, budget: float, refused: str | None) -> Mix:
    """The two neighbours on the upper hull that the budget lies between; its last arm where the budget allows that.
    Where it allows none: an error that says `refused`, or the cheapest."""
    places = [evidence.place(label) for label in labels]
    accuracy = evidence.correct[places].mean(axis=(1, 2))
    kept = [labels[index] for index in upper_hull(cost[places], accuracy)]
    spent = np.array([cost[evidence.place(label)] for label in kept])
    if spent[0] > budget:
        if refused is None:
            return (kept[0],)
        times = spent[0] / budget
        raise StudyError(f"{refused} units: its cheapest arm, {kept[0]!r}, takes {times:.2f} times the budget")
    last = int(np.searchsorted(spent, budget, side="right")) - 1
    return (kept[last],) if last == len(kept) - 1 or spent[last] == budget else (kept[last], kept[last + 1])
