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
    """An accuracy with its 95% interval, and the mean cost in units; both by training seed, too."""

    accuracy: float
    interval: tuple[float, float]
    cost: float
    by_seed: tuple[float, ...]
    cost_by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether a hypothesis is supported, and why, in a sentence."""

    supported: bool
    reason: str


@dataclass(frozen=True)
class Claim:
    """`levels` by budget and family; `rows` the differences by budget; `seconds_levels` and `seconds` the same at
    budgets of seconds; `protocols` C - T by each protocol; `controls` C less each control at 8 units, `control_levels`
    the controls and, as "C", the combination on their `control_problems`."""

    levels: Mapping[int, Mapping[str, Level]]
    rows: Mapping[int, Mapping[str, Estimate]]
    seconds_levels: Mapping[int, Mapping[str, Level]]
    seconds: Mapping[int, Mapping[str, Estimate]]
    wide: Estimate
    interaction: Estimate
    protocols: Mapping[str, Estimate]
    controls: Mapping[str, Estimate]
    control_levels: Mapping[str, Level]
    control_problems: int
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
        accuracy, levels = _families(draws, choices.flops, choices.unit)
        rows = _differences(draws, accuracy)
        seconds_levels, seconds = _by_seconds(evidence, choices, resamples, seed)
        wide = _estimate(draws, accuracy[8]["C"] - accuracy[16]["T"])
        interaction = _interaction(draws, accuracy[8])
        protocols = {name: _estimate(draws, _pair(draws, choices.protocols[name])) for name in choices.protocols}
        verdicts = {
            "H0": _h0(protocols),
            "H1": _h1(rows, levels),
            "H2": _h2(wide, levels),
            "H3": _h3(interaction, levels),
            "H4": _h1(seconds, seconds_levels) if seconds else Verdict(False, "no seconds were measured"),
        }
        return cls(
            levels,
            rows,
            seconds_levels,
            seconds,
            wide,
            interaction,
            protocols,
            *(({}, {}, 0) if beside is None else _controls(beside, choices, resamples, seed)),
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
        told = f"supported: {', '.join(held) or 'none'}; not supported: {', '.join(failed) or 'none'}"
        return told if self.controls else f"{told}; controls were not evaluated"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"headline": self.headline} | asdict(self)


def _families(
    draws: Draws, table: Table, unit: str
) -> tuple[dict[int, dict[str, Floats]], dict[int, dict[str, Level]]]:
    """By budget and family: accuracies [training seeds, draws], and what they come to with their costs in units."""
    one = draws.cost[draws.labels.index(unit)]
    accuracy: dict[int, dict[str, Floats]] = {}
    levels: dict[int, dict[str, Level]] = {}
    for budget in BUDGETS:
        both = {name: draws.mixture(table[budget][name], budget * one) for name in FAMILIES}
        accuracy[budget] = {name: right for name, (right, _) in both.items()}
        levels[budget] = {name: _level(draws, right, spent / one) for name, (right, spent) in both.items()}
    return accuracy, levels


def _differences(draws: Draws, accuracy: Mapping[int, Mapping[str, Floats]]) -> dict[int, dict[str, Estimate]]:
    return {
        budget: {f"C - {rival}": _estimate(draws, own["C"] - own[rival]) for rival in ("T", "S", "B")}
        for budget, own in accuracy.items()
    }


def _interaction(draws: Draws, own: Mapping[str, Floats]) -> Estimate:
    return _estimate(draws, (own["C"] - own["T"]) - (own["S"] - own["B"]))


def _by_seconds(
    evidence: Evidence, choices: Choices, resamples: int, seed: int
) -> tuple[dict[int, dict[str, Level]], dict[int, dict[str, Estimate]]]:
    if evidence.seconds is None or not choices.seconds:
        return {}, {}
    draws = Draws.of(evidence, by_seconds=True, resamples=resamples, seed=seed)
    accuracy, levels = _families(draws, choices.seconds, choices.unit)
    return levels, _differences(draws, accuracy)


def _controls(
    beside: Evidence, choices: Choices, resamples: int, seed: int
) -> tuple[dict[str, Estimate], dict[str, Level], int]:
    """C at 8 units less each control; the controls, and C, on the problems that both hold; how many these are."""
    draws = Draws.of(beside, resamples=resamples, seed=seed)
    unit = draws.cost[beside.place(choices.unit)]
    own, own_cost = draws.mixture(choices.flops[8]["C"], 8 * unit)
    mixed = {name: draws.mixture(mix, 8 * unit) for name, mix in choices.controls.items()}
    return (
        {name: _estimate(draws, own - right) for name, (right, _) in mixed.items()},
        {name: _level(draws, right, spent / unit) for name, (right, spent) in ({"C": (own, own_cost)} | mixed).items()},
        beside.correct.shape[2],
    )


def _pair(draws: Draws, pair: Mapping[str, str]) -> Floats:
    first, second = (draws.correct[draws.labels.index(pair[name])] for name in ("C", "T"))
    difference: Floats = first - second
    return difference


def _level(draws: Draws, right: Floats, spent: Floats) -> Level:
    """From accuracies and costs [training seeds, draws]."""
    value, *drawn = draws.over_seeds(right)
    interval = percentile_interval(np.array(drawn), 0.95)
    by_seed, cost_by_seed = (tuple(map(float, each[:, 0])) for each in (right, spent))
    return Level(float(value), (interval.low, interval.high), float(spent[:, 0].mean()), by_seed, cost_by_seed)


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


def _h1(rows: Mapping[int, Mapping[str, Estimate]], levels: Mapping[int, Mapping[str, Level]]) -> Verdict:
    """At every budget above both rivals, each at the level, in every seed: all must hold, so nothing is corrected."""
    dear = [budget for budget in rows if is_overspent(levels, budget)]
    kept = {budget: own for budget, own in rows.items() if budget not in dear}
    failed = [f"{name} at {b}" for b, own in kept.items() for name in ("C - T", "C - S") if not own[name].is_above]
    told = [f"C costs more than its budget at {', '.join(map(str, dear))} units"] if dear else []
    if kept:
        worst = max(own[name].p for own in kept.values() for name in ("C - T", "C - S"))
        told.append(f"largest p {'elsewhere ' if dear else ''}{worst:.2g}")
    if failed:
        told.append(f"not above: {', '.join(failed)}")
    return Verdict(not (dear or failed), "; ".join(told))


def _h2(wide: Estimate, levels: Mapping[int, Mapping[str, Level]]) -> Verdict:
    bound = f"99% lower bound of C(8) - T(16): {100 * wide.lower:+.1f} points, {100 * LEAST_POINTS:g} wanted"
    return _at_eight(wide.lower >= LEAST_POINTS, bound, levels)


def _h3(interaction: Estimate, levels: Mapping[int, Mapping[str, Level]]) -> Verdict:
    return _at_eight(interaction.interval[0] > 0, f"interaction at 8 units: {_told(interaction)}", levels)


def _at_eight(held: bool, reason: str, levels: Mapping[int, Mapping[str, Level]]) -> Verdict:
    if is_overspent(levels, 8):
        return Verdict(False, f"C costs more than its budget at 8 units; {reason}")
    return Verdict(held, reason)


def is_overspent(levels: Mapping[int, Mapping[str, Level]], budget: int) -> bool:
    """Whether C is. Rivals may overspend: that can only help them."""
    return levels[budget]["C"].cost > budget * (1 + OVERSPENDING)


def _told(one: Estimate) -> str:
    low, high = one.interval
    return f"{100 * one.value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], p {one.p:.2g}"
