"""A run's table: arms, declared tests, equal-FLOPs comparisons, and what must be said beside them.

    table = Table.of(Run.open("runs/first"))
    print(table.to_text())                 # 80 columns; wider shows more
    table.to_json(), table.to_markdown(), table.to_pandas()

It computes nothing by itself: `arms.py` and `comparison.py` do; `text.py` and `markdown.py` only lay out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from isoflop.core import Outcome, Stop
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.errors import MissingExtraError
from isoflop.report.arms import ArmSummary, summarize
from isoflop.report.comparison import LAMBDA, Comparison, EqualCost, measures_of
from isoflop.report.pools import PoolCurves, pool_curves
from isoflop.studies.run import Run
from isoflop.studies.spec import Study

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Table:
    """See the module. `lost` is what was computed for attempts that were killed or replaced."""

    study: Study
    arms: tuple[ArmSummary, ...]
    comparison: Comparison
    pools: tuple[PoolCurves, ...]
    lost: Mapping[Role, Cost]

    @classmethod
    def of(cls, run: Run, lam: float = LAMBDA) -> Table:
        """The table of a run as it stands, finished or not. `lam` is what a greedy answer's compute costs in J."""
        arms = summarize(run)
        return cls(run.study, arms, Comparison.of(run.study, arms, lam), pool_curves(run, arms), run.lost)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; numbers that do not exist are None."""
        return {
            "study": {"name": self.study.name, "hash": self.study.hash, "problems": str(self.study.problems)}
            | {"split": self.study.split, "seeds": list(self.study.seeds), "reference": self.study.reference},
            "arms": [self._arm(arm) for arm in self.arms],
            "paired": [asdict(test) | {"exploratory": test.exploratory} for test in self.comparison.tests],
            "refused": [{"a": a, "b": b, "reason": reason} for (a, b), reason in self.comparison.refused.items()],
            "equal_flops": [_equal(row) for row in self.comparison.equal],
            "pools": [_pool(pool) for pool in self.pools],
            "utility": {"lambda": self.comparison.lam, "unit": self.comparison.greedy},
            "lost": {role: cost.to_dict() for role, cost in self.lost.items()},
        }

    def to_json(self) -> str:
        """One line."""
        return json.dumps(finite(self.to_dict()), ensure_ascii=False, allow_nan=False)

    def to_pandas(self) -> pandas.DataFrame:
        """One row an arm, nested values flattened (`by_role.policy.flops_per_problem`)."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError(
                "to_pandas() needs pandas, which is not installed; install it: pip install 'isoflop[report]'"
            ) from None
        rows = [{**row, "interval": None, **_bounds(row["interval"])} for row in map(self._arm, self.arms)]
        return pandas.json_normalize(rows).drop(columns="interval").set_index("strategy")

    def to_markdown(self) -> str:
        """For a readme: arms, tests and notes."""
        from isoflop.report.markdown import markdown

        return markdown(self)

    def to_text(self, width: int = 80) -> str:
        """For a terminal of that many columns, without colours; wider shows more columns."""
        from isoflop.report.text import plain

        return plain(self, width)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def lost_flops(self) -> int:
        """FLOPs of work that no stored attempt shows."""
        ledger = Ledger()
        ledger.charge_all(self.lost)
        return ledger.total().flops

    def _arm(self, arm: ArmSummary) -> dict[str, Any]:
        measures = measures_of(arm)
        interval = arm.interval
        correct = arm.correct
        return {
            "strategy": arm.label,
            "n": arm.n,
            "correct": int(correct) if correct is not None and correct == int(correct) else correct,
            "accuracy": arm.accuracy,
            "interval": None if interval is None else [interval.low, interval.high],
            "interval_method": None if interval is None else interval.method,
            "flops_per_problem": arm.flops_per_problem,
            "seconds_per_problem": arm.seconds_per_problem,
            "tokens_per_problem": arm.tokens_per_problem,
            "by_role": {role: _costs(arm, role) for role in arm.roles},
            "naive_flops_per_problem": arm.per_problem("naive_flops"),
            "spent_flops_per_problem": arm.per_problem("flops", spent=True),
            "executed_flops_per_problem": arm.per_problem("executed_flops", spent=True),
            "prompt_tokens_per_problem": arm.per_problem("prompt_tokens"),
            "joules_per_problem": arm.joules_per_problem,
            "utility": self.comparison.utility.get(arm.label),
            "pareto": arm.label in self.comparison.pareto,
            "complete": arm.complete,
            "attempts": arm.attempts,
            "missing": arm.missing,
            "failures": list(arm.failures),
            "outcomes": {outcome.value: arm.outcomes.get(outcome, 0) for outcome in Outcome},
            "stops": {stop.value: arm.stops.get(stop, 0) for stop in Stop},
            "ties": arm.ties,
            "fallback_share": arm.fallback_share,
            "thoughts": None if arm.thoughts is None else arm.thoughts.to_dict(),
            "published_measures": None if measures is None else asdict(measures),
            "arm": arm.arm.to_dict(),
        }


def _costs(arm: ArmSummary, role: Role) -> dict[str, float | None]:
    return {
        "flops_per_problem": arm.per_problem("flops", role),
        "seconds_per_problem": arm.per_problem("seconds", role),
        "tokens_per_problem": arm.per_problem("new_tokens", role),
        "processed_tokens_per_problem": arm.per_problem("tokens", role),
        "spent_flops_per_problem": arm.per_problem("flops", role, spent=True),
    }


def _equal(row: EqualCost) -> dict[str, Any]:
    return {
        "strategy": row.arm,
        "against": row.against,
        "rivals": list(row.rivals),
        "rivals_accuracy_at_equal_flops": None if row.accuracy is None else row.accuracy.value,
        "difference": None if row.difference is None else row.difference.value,
        "difference_interval": None
        if row.difference is None
        else [row.difference.interval.low, row.difference.interval.high],
        "p": None if row.difference is None else row.difference.p,
        "rivals_flops_at_equal_accuracy": None if row.flops is None else row.flops.value,
        "rivals_flops_interval": None if row.flops is None else [row.flops.interval.low, row.flops.interval.high],
    }


def _pool(pool: PoolCurves) -> dict[str, Any]:
    curves = {
        curve.measure: {
            "accuracy": [float(value) for value in curve.accuracy],
            "interval": [[bounds.low, bounds.high] for bounds in map(curve.interval, curve.k)],
        }
        for curve in pool.curves
    }
    return {"arms": list(pool.arms), "problems": pool.problems, "k": list(pool.curves[0].k), "curves": curves}


def _bounds(interval: list[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"interval_low": low, "interval_high": high}


def finite(value: Any) -> Any:
    """Plain values with infinities (an accuracy that was never reached) as None: JSON has no word for them."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
