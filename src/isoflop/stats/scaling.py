"""Beyond what was sampled: pass@k from a beta-binomial fit over problems, accuracy from a saturating fit over FLOPs.

Forecasts, to be marked as such: inside the measured range use `isoflop.stats.curves` and `isoflop.stats.frontier`. The
pass@k of a set of problems bends because some problems are nearly hopeless, so the spread of per-problem success is
fitted, not a line through means.

    forecast_pass_at_k(correct_counts, attempts=16, k=[64, 256])[1].interval

Why the spread decides: Schaeffer et al., "How Do Large Language Monkeys Get Their Power (Laws)?", arXiv 2502.17578.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData, Floats, Integers, require_same_problems
from isoflop.stats.intervals import LEVEL, Interval, percentile_interval, resample_counts

REFITS = 200
_LOG_RANGE = (-10.0, 10.0)  # of alpha and beta: all problems hopeless or trivial .. all equally hard
_EXPONENTS = np.geomspace(0.02, 10.0, 400)  # steps of 1.6 %, far finer than any bootstrap interval of an exponent


@dataclass(frozen=True, slots=True)
class Forecast:
    """A fitted value at `at` (a k, or a number of FLOPs) with its bootstrap interval over problems."""

    at: float
    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class BetaBinomial:
    """Per-problem chance of success, spread over problems as Beta(alpha, beta)."""

    alpha: float
    beta: float

    def pass_at(self, k: float) -> float:
        """Expected pass@k: 1 - E[(1 - p)^k]."""
        from scipy.special import betaln

        return float(-np.expm1(betaln(self.alpha, self.beta + k) - betaln(self.alpha, self.beta)))


@dataclass(frozen=True, slots=True)
class Saturating:
    """Accuracy = ceiling - scale · (flops / unit_flops)^-exponent."""

    ceiling: float
    scale: float
    exponent: float
    unit_flops: float

    def accuracy_at(self, flops: float) -> float:
        """The fitted accuracy at that many mean FLOPs, not below 0."""
        return max(0.0, self.ceiling - self.scale * float((flops / self.unit_flops) ** -self.exponent))


def fit_beta_binomial(correct: ArrayLike, attempts: int) -> BetaBinomial:
    """Most likely spread of success, from how many of `attempts` each problem got right."""
    counts = np.asarray(correct)
    _refuse_wrong_counts(counts, attempts)
    return _fit_histogram(np.bincount(counts.astype(np.int64), minlength=attempts + 1))


def forecast_pass_at_k(
    correct: ArrayLike, attempts: int, k: Sequence[int], *, resamples: int = REFITS, level: float = LEVEL, seed: int = 0
) -> tuple[Forecast, ...]:
    """pass@k at each k, also beyond `attempts`, refitted on problems drawn with replacement."""
    counts = np.asarray(correct)
    fit = fit_beta_binomial(counts, attempts)
    levels = counts.astype(np.int64)
    refits = [
        _fit_histogram(np.bincount(levels, weights=drawn, minlength=attempts + 1))
        for rows in resample_counts(len(levels), resamples, seed)
        for drawn in rows
    ]
    return tuple(
        Forecast(at, fit.pass_at(at), percentile_interval(np.array([refit.pass_at(at) for refit in refits]), level))
        for at in k
    )


def fit_saturating(arms: Sequence[ArmData]) -> Saturating:
    """Least squares of accuracy = a - b · C^-c through the arms' mean FLOPs and accuracies."""
    flops, correct = _tables(arms)
    return _fit_curve(flops.mean(axis=0), correct.mean(axis=0))


def forecast_accuracy(
    arms: Sequence[ArmData], flops: Sequence[float], *, resamples: int = REFITS, level: float = LEVEL, seed: int = 0
) -> tuple[Forecast, ...]:
    """Accuracy at each number of mean FLOPs from the saturating fit, refitted on problems drawn with replacement."""
    cost, correct = _tables(arms)
    fit = fit_saturating(arms)
    refits = [
        _fit_curve(drawn @ cost / len(cost), drawn @ correct / len(cost))
        for rows in resample_counts(len(cost), resamples, seed)
        for drawn in rows
    ]
    return tuple(
        Forecast(at, fit.accuracy_at(at), percentile_interval(np.array([r.accuracy_at(at) for r in refits]), level))
        for at in flops
    )


def _refuse_wrong_counts(counts: np.ndarray, attempts: int) -> None:
    if attempts < 2:
        raise StudyError(
            f"{attempts} attempt per problem cannot tell how problems differ; a beta-binomial needs 2 or more"
        )
    if (
        counts.ndim != 1
        or not counts.size
        or (counts != np.rint(counts)).any()
        or not 0 <= counts.min() <= counts.max() <= attempts
    ):
        raise StudyError(f"counts of correct attempts must be whole numbers from 0 to {attempts}, one per problem")


def _fit_histogram(problems: Floats | Integers) -> BetaBinomial:
    """From the number of problems with 0, 1, .. n correct attempts."""
    from scipy.optimize import minimize
    from scipy.special import betaln

    attempts = len(problems) - 1
    right = np.flatnonzero(problems)
    weight = problems[right] / problems.sum()

    def surprise(log_parameters: Floats) -> float:
        alpha, beta = np.exp(log_parameters)
        return float(-weight @ (betaln(alpha + right, beta + attempts - right) - betaln(alpha, beta)))

    mean = float(np.clip(weight @ right / attempts, 1e-3, 1 - 1e-3))
    start = np.log([mean, 1 - mean])
    best = minimize(surprise, start, method="L-BFGS-B", bounds=[_LOG_RANGE, _LOG_RANGE])
    alpha, beta = np.exp(best.x)
    return BetaBinomial(float(alpha), float(beta))


def _tables(arms: Sequence[ArmData]) -> tuple[Floats, Floats]:
    """[problems, arms] of FLOPs and of correctness."""
    require_same_problems(arms)
    if len({arm.mean_flops for arm in arms}) < 4 or min(arm.mean_flops for arm in arms) <= 0:
        raise StudyError(
            f"a saturating fit has three parameters: it needs 4 or more arms of different mean FLOPs above 0, "
            f"got {len(arms)} arms with {sorted(arm.mean_flops for arm in arms)}"
        )
    flops = np.stack([arm.flops_by_problem for arm in arms], axis=1)
    return flops, np.stack([arm.accuracy_by_problem for arm in arms], axis=1)


def _fit_curve(flops: Floats, accuracy: Floats) -> Saturating:
    """For each exponent the rest is a straight line: fit them all and keep the best (no local minima)."""
    unit = float(np.exp(np.log(flops).mean()))
    shrunk = (flops / unit) ** -_EXPONENTS[:, None]  # [exponents, arms]
    centred = shrunk - shrunk.mean(axis=1, keepdims=True)
    scale = np.maximum(-(centred @ (accuracy - accuracy.mean())) / (centred**2).sum(axis=1), 0.0)
    ceiling = accuracy.mean() + scale * shrunk.mean(axis=1)
    # No accuracy exceeds 1: a ceiling above it is put there and the slope fitted again.
    over = ceiling > 1
    scale = np.where(over, (shrunk @ (1 - accuracy)) / (shrunk**2).sum(axis=1), scale)
    ceiling = np.where(over, 1.0, ceiling)
    misfit = ((ceiling[:, None] - scale[:, None] * shrunk - accuracy) ** 2).sum(axis=1)
    best = int(np.argmin(misfit))
    return Saturating(float(ceiling[best]), float(scale[best]), float(_EXPONENTS[best]), unit)
