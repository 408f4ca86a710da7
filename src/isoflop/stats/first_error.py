"""Finding the first wrong step: ProcessBench's measure for scores of steps.

A sample is a solution's step scores and the place of its first error, -1 where every step is right. At a threshold, the
first step that scores below it is called the error; none below is called right. F1 is the harmonic mean of the share of
erroneous samples whose first error is named exactly and of the share of right ones called right. The threshold has to
be chosen on other samples than those it is reported on.

    threshold = best_threshold(dev)
    first_error_f1(test, threshold).f1

Zheng et al. 2024, "ProcessBench", arXiv 2412.06559.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoflop.errors import StudyError
from isoflop.stats.arms import Floats
from isoflop.stats.intervals import Interval, percentile_interval, resample_counts

NO_ERROR = -1
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Judged:
    """One solution's step scores, and where its first error is (-1: nowhere)."""

    scores: tuple[float, ...]
    first_error: int

    def __post_init__(self) -> None:
        if not self.scores or not NO_ERROR <= self.first_error < len(self.scores):
            raise StudyError(
                f"a solution of {len(self.scores)} scored steps has its first error at {self.first_error}; "
                f"allowed: -1 (none) or a step from 0 on"
            )


@dataclass(frozen=True, slots=True)
class FirstErrorF1:
    """The measure at one threshold; `interval` is a bootstrap over samples."""

    threshold: float
    on_erroneous: float
    on_correct: float
    f1: float
    interval: Interval
    samples: int


def best_threshold(samples: Sequence[Judged]) -> float:
    """The threshold of the highest F1, exactly; the lowest of equals."""
    low, high = _hit_ranges(samples)
    erroneous = _erroneous(samples)
    finite = np.concatenate([low, high])
    finite = np.unique(finite[np.isfinite(finite)])
    # A range ends at its high bound, which belongs to it, so F1 only changes just above one of the bounds.
    candidates = np.append(finite, np.nextafter(finite[-1], np.inf))
    rates = [_hits(low[kind], high[kind], candidates) / kind.sum() for kind in (erroneous, ~erroneous)]
    return float(candidates[int(np.argmax(_harmonic(*rates)))])


def first_error_f1(samples: Sequence[Judged], threshold: float) -> FirstErrorF1:
    """Raises StudyError where all samples are right or all are wrong."""
    low, high = _hit_ranges(samples)
    hit = ((low < threshold) & (threshold <= high)).astype(np.float64)
    erroneous = _erroneous(samples)
    kinds = (erroneous, ~erroneous)
    on_erroneous, on_correct = (float(hit[kind].mean()) for kind in kinds)
    spread = [
        _harmonic(*((counts[:, kind] @ hit[kind]) / counts[:, kind].sum(axis=1).clip(1) for kind in kinds))
        for counts in resample_counts(len(samples), RESAMPLES, seed=0)
    ]
    f1 = float(_harmonic(np.asarray(on_erroneous), np.asarray(on_correct)))
    interval = percentile_interval(np.concatenate(spread))
    return FirstErrorF1(threshold, on_erroneous, on_correct, f1, interval, len(samples))


def _erroneous(samples: Sequence[Judged]) -> NDArray[np.bool_]:
    kinds = np.array([sample.first_error != NO_ERROR for sample in samples], dtype=np.bool_)
    if kinds.all() or not kinds.any():
        raise StudyError(
            f"of {len(kinds)} solutions {int(kinds.sum())} have an error; the first-error F1 needs some with and some "
            "without"
        )
    return kinds


def _hit_ranges(samples: Sequence[Judged]) -> tuple[Floats, Floats]:
    """Thresholds low < t <= high at which each sample is judged right."""
    low, high = np.full(len(samples), -np.inf), np.empty(len(samples))
    for place, sample in enumerate(samples):
        end = len(sample.scores) if sample.first_error == NO_ERROR else sample.first_error
        high[place] = min(sample.scores[:end], default=np.inf)
        if sample.first_error != NO_ERROR:
            low[place] = sample.scores[sample.first_error]
    return low, high


def _hits(low: Floats, high: Floats, thresholds: Floats) -> Floats:
    """How many of the ranges hold each threshold."""
    real = low < high
    begun = np.searchsorted(np.sort(low[real]), thresholds, side="left")
    ended = np.searchsorted(np.sort(high[real]), thresholds, side="left")
    return (begun - ended).astype(np.float64)


def _harmonic(first: Floats, second: Floats) -> Floats:
    both = np.asarray(first + second, dtype=np.float64)
    mean: Floats = np.divide(2 * first * second, both, out=np.zeros_like(both), where=both > 0)
    return mean
