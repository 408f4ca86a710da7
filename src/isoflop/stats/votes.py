"""Votes for every k from one pool: majority and weighted vote, expected over all subsets of k samples.

Ties are shared: a tied answer counts with the chance that a fair draw among the leaders picks it, never by order.
Samples without an answer do not vote; a subset in which none votes is wrong. Majority is exact (subsets are counted,
not listed). Weighted votes are exact for pools up to 12 samples; beyond, subsets are sampled and the curve states its
Monte Carlo error.

    majority_at_k(pools).accuracy, weighted_at_k(pools).monte_carlo_error

Majority: Wang et al., "Self-Consistency", arXiv 2203.11171; weighted: Li et al., arXiv 2206.02336.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from isoflop.errors import StudyError
from isoflop.stats.arms import Floats
from isoflop.stats.curves import Curve, Pool, exact_curve, sampled_curve

SUBSETS = 1000
LISTED_POOL = 12  # 2^12 subsets are listed; larger pools are sampled
COUNTED_POOL = 512  # C(512, 256) still fits a float, with room
_SAME = 1e-9  # sums of weights closer than this, relative to the largest, are tied
_CELLS_AT_ONCE = 2_000_000


def majority_at_k(pools: Sequence[Pool]) -> Curve:
    """Expected correctness of the most frequent answer among k samples, exact."""
    for pool in pools:
        if pool.size > COUNTED_POOL:
            raise StudyError(
                f"pool of problem {pool.problem!r} holds {pool.size} samples; allowed: at most {COUNTED_POOL}"
            )
    return exact_curve("maj@k", pools, _majority_of_one_pool)


def weighted_at_k(pools: Sequence[Pool], *, subsets: int = SUBSETS, seed: int = 0) -> Curve:
    """Expected correctness of the answer with the largest sum of weights among k samples."""

    def of_one_pool(pool: Pool, number: int) -> tuple[Floats, Floats]:
        if pool.size <= LISTED_POOL:
            return _weighted_listed(pool), np.zeros(pool.size)
        return _weighted_sampled(pool, subsets, np.random.default_rng([seed, number]))

    return sampled_curve("weighted@k", pools, of_one_pool)


def _majority_of_one_pool(pool: Pool) -> Floats:
    counts = pool.votes.sum(axis=0).astype(int)
    silent = pool.size - int(counts.sum())
    won = np.zeros(pool.size + 1)
    for winner in np.flatnonzero(pool.verdicts):
        rivals = np.delete(counts, winner)
        for votes in range(1, int(counts[winner]) + 1):
            won += float(comb(int(counts[winner]), votes)) * _shared_wins(rivals, silent, votes, pool.size)
    subsets = np.array([float(comb(pool.size, k)) for k in range(1, pool.size + 1)])
    expected: Floats = np.minimum(won[1:] / subsets, 1.0)
    return expected


def _shared_wins(rivals: Floats, silent: int, votes: int, size: int) -> Floats:
    """[k = 0 .. size]: subsets of k in which no rival passes `votes`, each weighed 1 / (1 + rivals that equal it).

    `ways[j, k]` counts ways to take k samples with j rivals level. Rivals too small to draw level, and the silent, add
    freely: together they are one binomial row. Only the others are folded in one by one.
    """
    free = silent + int(rivals[rivals < votes].sum())
    strong = [int(count) for count in rivals[rivals >= votes]]
    ways = np.zeros((len(strong) + 1, size + 1))
    if votes <= size:
        taken = np.arange(min(free, size - votes) + 1)
        ways[0, votes + taken] = [float(comb(free, int(t))) for t in taken]
    for count in strong:
        folded = np.zeros_like(ways)
        for taken_now in range(votes):
            folded[:, taken_now:] += float(comb(count, taken_now)) * ways[:, : size + 1 - taken_now]
        folded[1:, votes:] += float(comb(count, votes)) * ways[:-1, : size + 1 - votes]
        ways = folded
    shared: Floats = (ways / np.arange(1, len(strong) + 2)[:, None]).sum(axis=0)
    return shared


def _weighted_listed(pool: Pool) -> Floats:
    members = (np.arange(1, 2**pool.size)[:, None] >> np.arange(pool.size)) & 1
    sums = members @ (pool.votes * pool.scores[:, None])
    won = _share_of_right_leaders(sums, members @ pool.votes > 0, pool.verdicts)
    sizes = members.sum(axis=1)
    return np.bincount(sizes, weights=won)[1:] / np.bincount(sizes)[1:]


def _weighted_sampled(pool: Pool, subsets: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Random orders of the pool: the first k of an order are a random subset of k, for every k at once."""
    ballots = pool.votes * pool.scores[:, None]
    total, squares = np.zeros(pool.size), np.zeros(pool.size)
    chunk = max(1, _CELLS_AT_ONCE // max(1, ballots.size))
    for start in range(0, subsets, chunk):
        orders = rng.permuted(np.tile(np.arange(pool.size), (min(chunk, subsets - start), 1)), axis=1)
        voted = pool.votes[orders].cumsum(axis=1) > 0
        won = _share_of_right_leaders(ballots[orders].cumsum(axis=1), voted, pool.verdicts)
        total += won.sum(axis=0)
        squares += (won**2).sum(axis=0)
    mean = total / subsets
    return mean, np.maximum(squares / subsets - mean**2, 0) / subsets


def _share_of_right_leaders(sums: Floats, voted: np.ndarray, verdicts: Floats) -> Floats:
    """[...]: share of right answers among those with the largest sum; sums and voted are [..., answers]."""
    if not len(verdicts):
        return np.zeros(sums.shape[:-1])
    highest = sums.max(axis=-1, keepdims=True)
    leads = voted & (sums >= highest * (1 - _SAME))  # weights of 0 elect too, but only an answer that somebody gave
    leaders = leads.sum(axis=-1)
    share: Floats = (leads @ verdicts) / np.maximum(leaders, 1)
    return share
