"""How arms compare: the declared tests, accuracy at equal FLOPs, FLOPs at equal accuracy, J, the published measures.

Only complete arms take part. What is refused is named with its reason: an arm whose attempts failed would be judged on
the easier problems.

    found = Comparison.of(study, summarize(run), lam=0.005)
    found.tests[0].p_holm, found.equal[0].difference.value

Equal-compute comparison: Snell et al., arXiv 2408.03314; J: accuracy - lam · FLOPs / FLOPs(greedy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoflop.errors import StudyError
from isoflop.report.arms import ArmSummary
from isoflop.stats.arms import ArmData
from isoflop.stats.frontier import (
    FOLDS,
    Difference,
    Estimate,
    accuracy_at_budget,
    difference_at_budget,
    flops_at_accuracy,
    pareto_frontier,
)
from isoflop.stats.intervals import Interval, percentile_interval, resample_counts
from isoflop.stats.measures import StudyMeasures, study_measures, utility
from isoflop.stats.paired import PairedTest, compare_pairs, holm
from isoflop.studies.spec import Study

LAMBDA = 0.005
RESAMPLES = 500  # each repeats the choice of arms: ten arms take about a second
SCORE_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class EqualCost:
    """An arm against the best mixture of the arms in `rivals` at the arm's own mean FLOPs, and at its accuracy.

    Each is None where it would have to be extrapolated.
    """

    arm: str
    against: str
    rivals: tuple[str, ...]
    accuracy: Estimate | None
    difference: Difference | None
    flops: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """See the module. `refused` maps declared pairs that cannot be tested to the reason."""

    tests: tuple[PairedTest, ...]
    refused: Mapping[tuple[str, str], str]
    pareto: tuple[str, ...]
    equal: tuple[EqualCost, ...]
    utility: Mapping[str, float]
    lam: float
    greedy: str | None

    @classmethod
    def of(cls, study: Study, arms: Sequence[ArmSummary], lam: float = LAMBDA) -> Comparison:
        """All comparisons that the complete arms allow."""
        complete = {arm.label: arm for arm in arms if arm.complete}
        data = [arm.data for arm in complete.values() if arm.data is not None]
        priced = [arm for arm in data if arm.mean_flops > 0]  # imported samples do not say what they had cost
        refused = {pair: _reason(arms, pair) for pair in study.pairs if not set(pair) <= complete.keys()}
        declared = [pair for pair in study.pairs if pair not in refused]
        greedy = _greedy(study, complete)
        return cls(
            tests=_tests(data, declared, len(refused)),
            refused=refused,
            pareto=tuple(arm.name for arm in pareto_frontier(priced)) if priced else (),
            equal=_equal_cost(study, {arm.name: arm for arm in priced}),
            utility=_utilities(priced, greedy, lam),
            lam=lam,
            greedy=greedy,
        )


def measures_of(arm: ArmSummary) -> StudyMeasures | None:
    """The published study's own measures; None without accuracy, FLOPs or seconds."""
    flops, seconds = arm.flops_per_problem, arm.seconds_per_problem
    if arm.accuracy is None or not flops or not seconds:
        return None
    return study_measures(100 * arm.accuracy, flops / 1e12, seconds)


def score_interval(arm: ArmSummary) -> Interval | None:
    """Bootstrap by problem of the published "efficiency score"; None where it does not exist."""
    data = arm.data
    if data is None or data.seconds is None or measures_of(arm) is None:
        return None
    correct, tflops, seconds = 100 * data.accuracy_by_problem, data.flops_by_problem / 1e12, data.seconds.mean(axis=1)
    scores = []
    for counts in resample_counts(data.correct.shape[0], SCORE_RESAMPLES, seed=0):
        scores.append(100 * (counts @ correct) ** 2 / ((counts @ tflops) * (counts @ seconds)))
    return percentile_interval(np.concatenate(scores))


def _tests(data: Sequence[ArmData], declared: Sequence[tuple[str, str]], refused: int) -> tuple[PairedTest, ...]:
    """Pairs that are refused for now stay in the declared family, as if they had shown nothing: it was not chosen
    smaller, and a correction may not get milder because an arm failed."""
    if not data:
        return ()
    tests = compare_pairs(data, declared)
    corrected = holm([test.p for test in tests if not test.exploratory] + [1.0] * refused)
    return (
        *(replace(test, p_holm=p) for test, p in zip(tests[: len(declared)], corrected, strict=False)),
        *tests[len(declared) :],
    )


def _reason(arms: Sequence[ArmSummary], pair: tuple[str, str]) -> str:
    for arm in arms:
        if arm.label not in pair or arm.complete:
            continue
        if arm.ungraded:
            return f"{arm.label}: its problems have no gold answers"
        if arm.failures:
            return f"{arm.label}: {len(arm.failures)} attempts failed; rerun them (--retry-errors)"
        return f"{arm.label}: {arm.missing} attempts are still to make"
    raise StudyError(f"the pair {pair} names no arm of this study")


def _greedy(study: Study, complete: Mapping[str, ArmSummary]) -> str | None:
    """The arm whose FLOPs are the unit of J: the reference where it is greedy, else the first greedy arm."""
    found = [label for label, arm in complete.items() if arm.arm.strategy.spec_name == "greedy"]
    if study.reference in found:
        return study.reference
    return found[0] if found else None


def _utilities(data: Sequence[ArmData], greedy: str | None, lam: float) -> dict[str, float]:
    unit = next((arm.mean_flops for arm in data if arm.name == greedy), 0.0)
    return {arm.name: utility(arm.accuracy, arm.mean_flops, unit, lam) for arm in data} if unit > 0 else {}


def _equal_cost(study: Study, data: Mapping[str, ArmData]) -> tuple[EqualCost, ...]:
    """Every complete arm against the reference's family and against all other families together."""
    families = [[study.label(arm) for arm in family] for family in study.families]
    found: list[EqualCost] = []
    for label, arm in data.items():
        own = next(family for family in families if label in family)
        sides = {"others": [data[other] for other in data if other not in own]}
        if study.reference is not None and study.reference not in own:
            side = next(family for family in families if study.reference in family)
            sides["reference"] = [data[other] for other in side if other in data]
        found += [_against(arm, side, rivals) for side, rivals in sides.items() if rivals and len(arm.problems) > 1]
    return tuple(found)


def _against(arm: ArmData, side: str, rivals: Sequence[ArmData]) -> EqualCost:
    folds = min(FOLDS, len(arm.problems))
    return EqualCost(
        arm=arm.name,
        against=side,
        rivals=tuple(rival.name for rival in rivals),
        accuracy=accuracy_at_budget(rivals, arm.mean_flops, folds=folds, resamples=RESAMPLES),
        difference=difference_at_budget([arm], rivals, arm.mean_flops, folds=folds, resamples=RESAMPLES),
        flops=flops_at_accuracy(rivals, arm.accuracy, folds=folds, resamples=RESAMPLES),
    )
