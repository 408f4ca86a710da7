"""Every k from one pool: pass@k, maj@k, weighted@k and best@k, from stored attempts.

A pool is what an arm that draws n whole samples has drawn. Arms that shared one pool give the same pass@k; those with a
reward give the weighted curves, too, and where several rewards weighed one pool each has curves of its own. Arms that
stop early are left out: what they drew depends on what they saw.

    for pool in pool_curves(run): print(pool.arms, [(curve.measure, curve.accuracy[-1]) for curve in pool.curves])

Unbiased pass@k: Chen et al., arXiv 2107.03374.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoflop.core import Candidate, Outcome
from isoflop.report.arms import ArmSummary
from isoflop.stats.curves import Curve, Pool, best_at_k, pass_at_k
from isoflop.stats.votes import majority_at_k, weighted_at_k
from isoflop.studies.record import Record
from isoflop.studies.run import Run


@dataclass(frozen=True)
class PoolCurves:
    """The curves of one pool of samples under one reward, if there is any, and the arms that drew or shared it and have
    that reward or none, the one with the most samples first."""

    arms: tuple[str, ...]
    problems: int
    curves: tuple[Curve, ...]


def pool_curves(run: Run, arms: Sequence[ArmSummary]) -> tuple[PoolCurves, ...]:
    """For each pool that complete arms share, and each reward that weighed it: the curves of the largest arm."""
    groups: dict[object, list[ArmSummary]] = {}
    for summary in arms:
        arm = summary.arm
        if summary.complete and arm.strategy.pooled and "n" in arm.amounts and arm.budget.unlimited:
            groups.setdefault((arm.engine, arm.prompt, arm.sampling), []).append(summary)
    found = []
    for group in (part for whole in groups.values() for part in _by_reward(whole)):
        largest = max(group, key=lambda summary: (summary.arm.amounts["n"], summary.arm.reward is not None))
        records = [record for record in run.attempts if record.arm == largest.label]
        curves = _over_seeds([curves_of_pools(pools) for pools in _pools_by_seed(records)])
        labels = (largest.label, *(one.label for one in group if one is not largest))
        found.append(PoolCurves(labels, largest.n, curves))
    return tuple(found)


def _by_reward(group: Sequence[ArmSummary]) -> list[list[ArmSummary]]:
    """The arms of each reward, those without one among all of them."""
    rewards = dict.fromkeys(one.arm.reward for one in group if one.arm.reward is not None)
    return [[one for one in group if one.arm.reward in (reward, None)] for reward in rewards or [None]]


def curves_of_pools(pools: Sequence[Pool]) -> tuple[Curve, ...]:
    """pass@k and maj@k; weighted@k and best@k where every sample has a weight."""
    curves = [pass_at_k(pools), majority_at_k(pools)]
    if all(pool.weights is not None for pool in pools):
        curves += [weighted_at_k(pools), best_at_k(pools)]
    return tuple(curves)


def _pools_by_seed(records: Iterable[Record]) -> list[list[Pool]]:
    seeds: dict[int, list[Pool]] = {}
    for record in records:
        seeds.setdefault(record.seed, []).append(pool_of(record.problem.id, record.candidates))
    return list(seeds.values())


def pool_of(problem: str, candidates: Sequence[Candidate]) -> Pool:
    """The candidates of one attempt as a pool."""
    # Answers that vote together stand or fall together: the first one read speaks for its cluster.
    verdicts: dict[str | None, float] = {None: 0.0}
    right = [verdicts.setdefault(one.label, float(one.outcome is Outcome.CORRECT)) for one in candidates]
    weights = tuple(one.weight for one in candidates if one.weight is not None)
    labels = tuple(one.label for one in candidates)
    return Pool(problem, labels, tuple(right), weights if len(weights) == len(labels) else None)


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
