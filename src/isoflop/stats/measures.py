"""Single numbers that trade accuracy against what it cost: J, the break-even point, and the published study's own.

They rank; they do not test: use `isoflop.stats.frontier` to compare at equal FLOPs. The published "efficiency score"
depends on the units and rewards cheap wrong answers. It is here, under its own name, to be compared with the study's
table, not as a recommendation.

    utility(accuracy=0.41, flops=4e12, greedy_flops=1e12, lam=0.005)   # 0.39

Published measures: "Inference Scaling vs Reasoning", arXiv 2412.16260.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isoflop.errors import StudyError


@dataclass(frozen=True, slots=True)
class StudyMeasures:
    """The published study's measures: accuracy in percent per TFLOP, per second, and 100 times their product."""

    accuracy_per_tflop: float
    accuracy_per_second: float
    efficiency_score: float


def study_measures(accuracy_percent: float, tflops: float, seconds: float) -> StudyMeasures:
    """The published measures of one arm from its means per problem; accuracy in percent (10.16, not 0.1016)."""
    if tflops <= 0 or seconds <= 0:
        raise StudyError(f"the study's measures divide by {tflops} TFLOPs and {seconds} seconds; both must be above 0")
    per_tflop, per_second = accuracy_percent / tflops, accuracy_percent / seconds
    return StudyMeasures(per_tflop, per_second, per_tflop * per_second * 100)


def utility(accuracy: float, flops: float, greedy_flops: float, lam: float) -> float:
    """J = accuracy - lam · flops / greedy_flops: what an answer is worth when a greedy answer's compute costs `lam`."""
    if greedy_flops <= 0 or lam < 0:
        raise StudyError(f"J needs greedy_flops > 0 and lam >= 0; got greedy_flops={greedy_flops}, lam={lam}")
    return accuracy - lam * flops / greedy_flops


def break_even_problems(fixed_flops: float, saved_flops_per_problem: float) -> int | None:
    """Problems after which FLOPs spent once (training, labelling) are paid back; None where nothing is saved."""
    if fixed_flops < 0:
        raise StudyError(f"FLOPs spent once cannot be negative: {fixed_flops}")
    return math.ceil(fixed_flops / saved_flops_per_problem) if saved_flops_per_problem > 0 else None
