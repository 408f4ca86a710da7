"""H0 to H4 of docs/claim.md, from evidence and choices. A hypothesis is supported or it is not; the numbers say by how
much, and not being supported is not being refuted.

    found = Claim.of(evidence, choices)
    found.verdicts["H1"].supported, found.rows[8]["C - T"].p
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isoflop.claim.bootstrap import RESAMPLES, Draws
from isoflop.claim.choices import BUDGETS, FAMILIES, PROTOCOLS, Choices, Table
from isoflop.claim.evidence import Evidence
from isoflop.stats.arms import Floats
from isoflop.stats.intervals import percentile_interval

LEVEL = 0.01  # one-sided
LEAST_POINTS = 0.05  # H2
BOUND = "oracle"  # controls of that name know the right answer: bounds, no rivals
OVERSPENDING = 0.01  # C may cost this much more than its budget, by rounding and by chance


@dataclass(frozen=True)
class Estimate:
    """A difference in accuracy: its value, the same in each training seed, its 95% interval, the lower bound of 99%
    (one-sided), and p, one-sided, that it is not above 0."""

    value: float
    by_seed: tuple[float, ...]
    interval: tuple[float, float]
    lower: float
    p: float

    @property
    def is_above(self) -> bool:
        """Above 0 at `LEVEL`, in every training seed with the same sign."""
        return self.p < LEVEL and all(value > 0 for value in self.by_seed)


@dataclass(frozen=True)
class Level:
    """An accuracy with its 95% interval, and the mean cost in units."""

    accuracy: float
    interval: tuple[float, float]
    cost: float


@dataclass(frozen=True)
class Verdict:
    """Whether a hypothesis is supported, and why, in a sentence."""

    supported: bool
    reason: str


@dataclass(frozen=True)
class Claim:
    """`levels` by budget and family; `rows` the differences by budget, `seconds` the same at equal seconds; `protocols`
    C - T by each protocol; `controls` C less each control at 8 units, `control_levels` the controls themselves."""

    levels: Mapping[int, Mapping[str, Level]]
    rows: Mapping[int, Mapping[str, Estimate]]
    seconds: Mapping[int, Mapping[str, Estimate]]
    wide: Estimate
    interaction: Estimate
    protocols: Mapping[str, Estimate]
    controls: Mapping[str, Estimate]
    control_levels: Mapping[str, Level]
    verdicts: Mapping[str, Verdict]
    problems: int
    training_seeds: int

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        choices: Choices,
        beside: Evidence | None = None,
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Claim:
        """Evaluate everything that the choices declare; the controls where there is evidence `beside`."""
        draws = Draws.of(evidence, resamples=resamples, seed=seed)
        unit = draws.cost[evidence.place(choices.unit)]
        accuracy, cost = _families(draws, choices.flops, unit)
        rows = _differences(draws, accuracy)
        seconds, seconds_cost = _by_seconds(evidence, choices, resamples, seed)
        wide = _estimate(draws, accuracy[8]["C"] - accuracy[16]["T"])
        interaction = _interaction(draws, accuracy[8])
        protocols = {name: _estimate(draws, _pair(draws, choices.protocols[name])) for name in choices.protocols}
        mean_cost = {b: {f: float(each[:, 0].mean()) for f, each in own.items()} for b, own in cost.items()}
        verdicts = {
            "H0": _h0(protocols),
            "H1": _h1(rows, mean_cost),
            "H2": _h2(wide, mean_cost),
            "H3": Verdict(interaction.interval[0] > 0, f"interaction at 8 units: {_told(interaction)}"),
            "H4": _h1(seconds, seconds_cost) if seconds else Verdict(False, "no seconds were measured"),
        }
        return cls(
            {b: {f: _level(draws, own[f], cost[b][f]) for f in own} for b, own in accuracy.items()},
            rows,
            seconds,
            wide,
            interaction,
            protocols,
            *(({}, {}) if beside is None else _controls(beside, choices, resamples, seed)),
            verdicts,
            evidence.correct.shape[2],
            evidence.correct.shape[1],
        )

    @property
    def headline(self) -> str:
        """What has to be said first, a control that wins before all."""
        rivals = {name: one for name, one in self.controls.items() if not name.startswith(BOUND)}
        winners = [name for name, one in rivals.items() if one.interval[1] < 0]
        if winners:
            return f"a control beats the combination at 8 units of FLOPs: {', '.join(winners)}"
        held = [name for name, verdict in self.verdicts.items() if verdict.supported]
        failed = [name for name, verdict in self.verdicts.items() if not verdict.supported]
        return f"supported: {', '.join(held) or 'none'}; not supported: {', '.join(failed) or 'none'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"headline": self.headline} | asdict(self)


def _families(draws: Draws, table: Table, unit: Floats) -> tuple[dict[int, dict[str, Floats]], ...]:
    """Accuracies, and costs in units, by budget and family: each [training seeds, draws]."""
    accuracy: dict[int, dict[str, Floats]] = {}
    cost: dict[int, dict[str, Floats]] = {}
    for budget in BUDGETS:
        both = {name: draws.mixture(table[budget][name], budget * unit) for name in FAMILIES}
        accuracy[budget] = {name: right for name, (right, _) in both.items()}
        cost[budget] = {name: spent / unit for name, (_, spent) in both.items()}
    return accuracy, cost


def _differences(draws: Draws, accuracy: Mapping[int, Mapping[str, Floats]]) -> dict[int, dict[str, Estimate]]:
    return {
        budget: {f"C - {rival}": _estimate(draws, own["C"] - own[rival]) for rival in ("T", "S", "B")}
        for budget, own in accuracy.items()
    }


def _interaction(draws: Draws, own: Mapping[str, Floats]) -> Estimate:
    return _estimate(draws, (own["C"] - own["T"]) - (own["S"] - own["B"]))


def _by_seconds(
    evidence: Evidence, choices: Choices, resamples: int, seed: int
) -> tuple[dict[int, dict[str, Estimate]], dict[int, dict[str, float]]]:
    if evidence.seconds is None or not choices.seconds:
        return {}, {}
    draws = Draws.of(evidence, by_seconds=True, resamples=resamples, seed=seed)
    accuracy, cost = _families(draws, choices.seconds, draws.cost[evidence.place(choices.unit)])
    mean_cost = {b: {f: float(each[:, 0].mean()) for f, each in own.items()} for b, own in cost.items()}
    return _differences(draws, accuracy), mean_cost


def _controls(
    beside: Evidence, choices: Choices, resamples: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Level]]:
    """C at 8 units less each control, and the controls, on the problems that both hold."""
    draws = Draws.of(beside, resamples=resamples, seed=seed)
    unit = draws.cost[beside.place(choices.unit)]
    own, _ = draws.mixture(choices.flops[8]["C"], 8 * unit)
    mixed = {name: draws.mixture(mix, 8 * unit) for name, mix in choices.controls.items()}
    return (
        {name: _estimate(draws, own - right) for name, (right, _) in mixed.items()},
        {name: _level(draws, right, spent / unit) for name, (right, spent) in mixed.items()},
    )


def _pair(draws: Draws, pair: Mapping[str, str]) -> Floats:
    first, second = (draws.correct[draws.labels.index(pair[name])] for name in ("C", "T"))
    difference: Floats = first - second
    return difference


def _level(draws: Draws, right: Floats, spent: Floats) -> Level:
    """From accuracies and costs [training seeds, draws]."""
    value, *drawn = draws.over_seeds(right)
    interval = percentile_interval(np.array(drawn), 0.95)
    return Level(float(value), (interval.low, interval.high), float(spent[:, 0].mean()))


def _estimate(draws: Draws, by_seed: Floats) -> Estimate:
    """From differences [training seeds, draws]."""
    value, *drawn = draws.over_seeds(by_seed)
    values = np.array(drawn)
    p = (int((values <= 0).sum()) + 1) / (len(values) + 1)
    interval = percentile_interval(values, 0.95)
    lower = percentile_interval(values, 1 - 2 * LEVEL).low
    return Estimate(float(value), tuple(map(float, by_seed[:, 0])), (interval.low, interval.high), lower, p)


def _h0(protocols: Mapping[str, Estimate]) -> Verdict:
    if not protocols:
        return Verdict(False, "no arms by the two protocols were named")
    published, corrected = (protocols[name] for name in PROTOCOLS)
    held = published.value <= 0 and corrected.is_above
    return Verdict(held, f"C - T as published {_told(published)}, corrected {_told(corrected)}")


def _h1(rows: Mapping[int, Mapping[str, Estimate]], costs: Mapping[int, Mapping[str, float]]) -> Verdict:
    """At every budget above both rivals, each at the level, in every seed: all must hold, so nothing is corrected."""
    dear = [budget for budget in rows if _is_overspent(costs, budget)]
    if dear:
        return Verdict(False, f"C costs more than its budget at {', '.join(map(str, dear))} units")
    failed = [f"{name} at {b}" for b, own in rows.items() for name in ("C - T", "C - S") if not own[name].is_above]
    worst = max(own[name].p for own in rows.values() for name in ("C - T", "C - S"))
    return Verdict(not failed, f"largest p {worst:.2g}" + (f"; not above: {', '.join(failed)}" if failed else ""))


def _h2(wide: Estimate, costs: Mapping[int, Mapping[str, float]]) -> Verdict:
    if _is_overspent(costs, 8):
        return Verdict(False, "C costs more than its budget at 8 units")
    bound = f"99% lower bound of C(8) - T(16): {100 * wide.lower:+.1f} points"
    return Verdict(wide.lower >= LEAST_POINTS, f"{bound}, {100 * LEAST_POINTS:g} wanted")


def _is_overspent(costs: Mapping[int, Mapping[str, float]], budget: int) -> bool:
    """Rivals may overspend: that can only help them."""
    return costs[budget]["C"] > budget * (1 + OVERSPENDING)


def _told(one: Estimate) -> str:
    low, high = one.interval
    return f"{100 * one.value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], p {one.p:.2g}"
