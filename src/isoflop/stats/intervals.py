"""How sure is an accuracy: Wilson for one attempt per problem, a bootstrap over problems for several.

It is not the normal approximation, whose bars are too small below a few hundred problems, and it never treats two
attempts on one problem as independent: the bootstrap draws whole problems.

    accuracy_interval(arm)      # Interval(low=0.056, high=0.157, method='wilson', level=0.95)

Wilson and small samples: Bowyer et al., arXiv 2503.01747; problems as clusters: Miller, arXiv 2411.00640.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData, Floats, Integers

LEVEL = 0.95
RESAMPLES = 10_000
_CELLS_AT_ONCE = 2_000_000  # resamples × problems held at a time: about 16 MB of indices


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, by `method`, covering the truth in a share `level` of studies."""

    low: float
    high: float
    method: str
    level: float = LEVEL

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(correct: float, problems: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of the proportion `correct` / `problems`."""
    from statsmodels.stats.proportion import proportion_confint

    _refuse_wrong_level(level)
    if problems < 1 or not 0 <= correct <= problems:
        raise StudyError(
            f"{correct} correct of {problems} problems is no proportion; need 0 <= correct <= problems >= 1"
        )
    low, high = proportion_confint(correct, problems, alpha=1 - level, method="wilson")
    # The score interval of 0 (or all) ends there exactly; rounding must not push the estimate out of its interval.
    return Interval(min(float(low), correct / problems), max(float(high), correct / problems), "wilson", level)


def bootstrap_mean(values: ArrayLike, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Percentile interval of the mean of one accuracy (0 to 1) per problem, problems drawn with replacement.

    Values that are all equal say nothing to a bootstrap, whose interval would have no width: then it is Wilson's over
    the problems, which is conservative since it reads several attempts as one.
    """
    by_problem = np.asarray(values, dtype=np.float64)
    _refuse_wrong_level(level)
    if not by_problem.size:
        raise StudyError("no problems to resample; a bootstrap needs at least one")
    if np.ptp(by_problem) == 0:
        return wilson(float(by_problem.sum().clip(0, len(by_problem))), len(by_problem), level)
    means = [counts @ by_problem / len(by_problem) for counts in resample_counts(len(by_problem), resamples, seed)]
    return percentile_interval(np.concatenate(means), level)


def accuracy_interval(arm: ArmData, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The arm's accuracy: Wilson where each problem has one plain attempt, else the bootstrap by problem."""
    if arm.attempts == 1 and arm.is_zero_one:
        return wilson(int(arm.correct.sum()), len(arm.problems), level)
    return bootstrap_mean(arm.accuracy_by_problem, level, resamples, seed)


def percentile_interval(statistics: Floats, level: float = LEVEL) -> Interval:
    """The middle `level` of bootstrap statistics, which may hold infinities (a target that was never reached)."""
    tail = (1 - level) / 2
    # An inverted distribution function picks values that occurred: no arithmetic between infinities.
    low, high = np.quantile(statistics, [tail, 1 - tail], method="inverted_cdf")
    return Interval(float(low), float(high), "bootstrap by problem", level)


def resample_counts(problems: int, resamples: int, seed: int) -> Iterator[Integers]:
    """How often each problem is drawn, [resamples, problems], in chunks that bound the memory."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS_AT_ONCE // problems)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, problems, size=(rows, problems)) + problems * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * problems).reshape(rows, problems)


def _refuse_wrong_level(level: float) -> None:
    if not 0 < level < 1:
        raise StudyError(f"an interval's level is {level}; it must lie between 0 and 1, for example 0.95")
