"""Every k from one pool: pass@k, maj@k, weighted@k and best@k, from stored attempts or from others' samples.

A pool is what an arm that draws n whole samples has drawn. Arms that shared one pool give the same pass@k; the one with
rewards gives the weighted curves, too. Arms that stop early are left out: what they drew depends on what they saw.

    for pool in pool_curves(run): print(pool.arms, [(curve.measure, curve.accuracy[-1]) for curve in pool.curves])
    curves_of_samples(import_samples("samples.jsonl"), MathGrader())

Unbiased pass@k: Chen et al., arXiv 2107.03374.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoflop.answers.base import Grader, Verdict
from isoflop.core import Candidate, Outcome
from isoflop.errors import StudyError
from isoflop.problems.imports import ImportedSample
from isoflop.report.arms import ArmSummary
from isoflop.stats.curves import Curve, Pool, best_at_k, pass_at_k
from isoflop.stats.votes import majority_at_k, weighted_at_k
from isoflop.studies.record import Record
from isoflop.studies.run import Run


@dataclass(frozen=True)
class PoolCurves:
    """The curves of one pool of samples, and the arms that drew or shared it."""

    arms: tuple[str, ...]
    problems: int
    curves: tuple[Curve, ...]


def pool_curves(run: Run, arms: Sequence[ArmSummary]) -> tuple[PoolCurves, ...]:
    """For each pool that complete arms share: the curves of the largest, with weights where a reward gave them."""
    groups: dict[object, list[ArmSummary]] = {}
    for summary in arms:
        arm = summary.arm
        if summary.complete and arm.strategy.pooled and "n" in arm.amounts and arm.budget.unlimited:
            groups.setdefault((arm.engine, arm.prompt, arm.sampling), []).append(summary)
    found = []
    for group in groups.values():
        largest = max(group, key=lambda summary: (summary.arm.amounts["n"], summary.arm.reward is not None))
        records = [record for record in run.attempts if record.arm == largest.label]
        curves = _over_seeds([curves_of_pools(pools) for pools in _pools_by_seed(records)])
        found.append(PoolCurves(tuple(one.label for one in group), largest.n, curves))
    return tuple(found)


def curves_of_pools(pools: Sequence[Pool]) -> tuple[Curve, ...]:
    """pass@k and maj@k; weighted@k and best@k where every sample has a weight."""
    curves = [pass_at_k(pools), majority_at_k(pools)]
    if all(pool.weights is not None for pool in pools):
        curves += [weighted_at_k(pools), best_at_k(pools)]
    return tuple(curves)


def curves_of_samples(samples: Iterable[ImportedSample], grader: Grader) -> tuple[PoolCurves, tuple[Pool, ...]]:
    """The curves of imported samples, graded here. A sample's weight is its reward, else exp of its mean
    log-probability (as the reward `logprob()` has it); without either there are no weighted curves.

    Raises StudyError for a problem without a gold answer.
    """
    by_problem: dict[str, list[ImportedSample]] = {}
    for sample in samples:
        by_problem.setdefault(sample.problem_id, []).append(sample)
    pools = tuple(_graded(problem, drawn, grader) for problem, drawn in by_problem.items())
    return PoolCurves((), len(pools), curves_of_pools(pools)), pools


def _graded(problem: str, samples: Sequence[ImportedSample], grader: Grader) -> Pool:
    gold = samples[0].gold
    if gold is None:
        raise StudyError(f"problem {problem!r} has no gold answer, so its samples are neither right nor wrong")
    read = [grader.extract(sample.text) for sample in samples]
    labels = grader.cluster([None if found is None else found.text for found in read])
    right = [float(found is not None and grader.verify(found.text, gold) is Verdict.CORRECT) for found in read]
    weights = [_weight(sample) for sample in samples]
    known = tuple(weight for weight in weights if weight is not None)
    return _pool(problem, labels, right, known if len(known) == len(weights) else None)


def _weight(sample: ImportedSample) -> float | None:
    if sample.reward is not None:
        return sample.reward
    return math.exp(math.fsum(sample.logprobs) / len(sample.logprobs)) if sample.logprobs else None


def _pools_by_seed(records: Iterable[Record]) -> list[list[Pool]]:
    seeds: dict[int, list[Pool]] = {}
    for record in records:
        seeds.setdefault(record.seed, []).append(_pool_of(record.problem.id, record.candidates))
    return list(seeds.values())


def _pool_of(problem: str, candidates: Sequence[Candidate]) -> Pool:
    weights = tuple(candidate.weight for candidate in candidates if candidate.weight is not None)
    return _pool(
        problem,
        [candidate.label for candidate in candidates],
        [float(candidate.outcome is Outcome.CORRECT) for candidate in candidates],
        weights if len(weights) == len(candidates) else None,
    )


def _pool(
    problem: str, labels: Sequence[str | None], right: Sequence[float], weights: tuple[float, ...] | None
) -> Pool:
    # Answers that vote together stand or fall together: the first one read speaks for its cluster.
    verdicts: dict[str | None, float] = {None: 0.0}
    shared = tuple(verdicts.setdefault(label, value) for label, value in zip(labels, right, strict=True))
    return Pool(problem, tuple(labels), shared, weights)


def _over_seeds(by_seed: Sequence[tuple[Curve, ...]]) -> tuple[Curve, ...]:
    """Curves averaged over seeds, problem by problem."""
    first, *_ = by_seed
    if len(by_seed) == 1:
        return first
    return tuple(
        replace(
            curve,
            by_problem=np.mean([curves[i].by_problem for curves in by_seed], axis=0),
            monte_carlo_error=np.linalg.norm([curves[i].monte_carlo_error for curves in by_seed], axis=0)
            / len(by_seed),
        )
        for i, curve in enumerate(first)
    )
