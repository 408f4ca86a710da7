"""Does a score tell right from wrong: the AUC, over everything at once and within each problem.

The AUC is the chance that something right scores above something wrong, equal scores counting half; 0.5 knows nothing.
Pooled over problems it also rewards knowing which problems are easy, which helps no search; within a problem it is what
selection can use. It says nothing of whether 0.8 means 80 %: that is calibration.

    auc([0.9, 0.4, 0.6], [True, False, False])          # 1.0
    within_auc([Group("p", scores, right), ...]).value

Hanley & McNeil 1982. Problems are drawn whole in the intervals: Miller, arXiv 2411.00640.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from isoflop.stats.arms import Floats
from isoflop.stats.intervals import Interval, bootstrap_mean, percentile_interval, resample_counts

RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Group:
    """What was scored for one problem: numbers, and whether each belongs to something right."""

    problem: str
    scores: tuple[float, ...]
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Auc:
    """An AUC with its bootstrap interval by problem; `problems` are those that took part."""

    value: float
    interval: Interval
    problems: int


def auc(scores: ArrayLike, right: ArrayLike) -> float | None:
    """None where all are of one kind: then nothing can be told apart."""
    is_right = np.asarray(right, dtype=np.bool_)
    if is_right.all() or not is_right.any():
        return None
    return float(_auc(_ranks(scores), is_right, np.ones(is_right.size)))


def pooled_auc(groups: Sequence[Group]) -> Auc | None:
    """The AUC over all groups as one; None where all are of one kind."""
    scores = [score for group in groups for score in group.scores]
    is_right = np.array([right for group in groups for right in group.right], dtype=np.bool_)
    value = auc(scores, is_right)
    if value is None:
        return None
    ranks, owner = _ranks(scores), np.repeat(np.arange(len(groups)), [len(group.scores) for group in groups])
    spread = [
        _auc(ranks, is_right, row[owner].astype(np.float64))
        for counts in resample_counts(len(groups), RESAMPLES, seed=0)
        for row in counts
    ]
    known = np.array([one for one in spread if np.isfinite(one)])  # a resample of one kind has no AUC
    return Auc(value, percentile_interval(known), len(groups))


def within_auc(groups: Sequence[Group]) -> Auc | None:
    """The mean of the groups' own AUCs, over those that hold both kinds; None where none does."""
    found = [value for group in groups if (value := auc(group.scores, group.right)) is not None]
    return Auc(float(np.mean(found)), bootstrap_mean(found), len(found)) if found else None


def _ranks(scores: ArrayLike) -> NDArray[np.intp]:
    return np.asarray(rankdata(np.asarray(scores, dtype=np.float64), method="dense"), dtype=np.intp) - 1


def _auc(ranks: NDArray[np.intp], is_right: NDArray[np.bool_], weights: Floats) -> float:
    """Weighted; NaN where one kind has no weight."""
    size = int(ranks.max()) + 1
    right = np.bincount(ranks[is_right], weights[is_right], size)
    wrong = np.bincount(ranks[~is_right], weights[~is_right], size)
    pairs = right.sum() * wrong.sum()
    return float(right @ (np.cumsum(wrong) - wrong / 2) / pairs) if pairs else float("nan")
