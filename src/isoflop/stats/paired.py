"""Who wins on the same problems: exact McNemar, a permutation test, Holm over a declared family, and the power.

It is not a test of two unpaired proportions: arms met the same problems, and only those on which they differ say
anything. Pairs outside the family that was declared before the study get no corrected p-value: they are exploratory.

    compare_pairs(arms, family=[("rebase(width=8)", "greedy()")])[0].p_holm

McNemar, Psychometrika 1947; Newcombe, Statistics in Medicine 17, 1998;
Holm, Scandinavian Journal of Statistics 1979; the (k+1)/(N+1) of a Monte Carlo test:
Phipson and Smyth, arXiv 1603.05766.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData, Floats, Integers, arm_named, require_same_problems
from isoflop.stats.intervals import LEVEL, Interval, percentile_interval, resample_counts, wilson

SIGN_FLIPS = 20_000
RESAMPLES = 4_000
_SAME = 1e-9  # two means closer than this are equal: they differ by rounding alone
_FINEST_STEP = 240  # attempts multiply to a common denominator; beyond this one the test samples
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Arms a and b on the same problems; `difference` is accuracy of a minus that of b.

    `a_only` counts problems on which a did better (with one attempt: a right, b wrong). `p_holm` is None where the
    pair was not in the declared family: exploratory.
    """

    a: str
    b: str
    problems: int
    difference: float
    a_only: int
    b_only: int
    method: str
    p: float
    p_holm: float | None = None

    @property
    def exploratory(self) -> bool:
        """Whether the pair was not declared before the study."""
        return self.p_holm is None


def mcnemar(a_only: int, b_only: int) -> float:
    """Exact two-sided p: are the problems that just one arm solved shared evenly between the arms?"""
    from scipy.stats import binomtest

    if a_only < 0 or b_only < 0:
        raise StudyError(f"counts of problems cannot be negative: a_only={a_only}, b_only={b_only}")
    if a_only + b_only == 0:
        return 1.0
    return float(binomtest(a_only, a_only + b_only, 0.5).pvalue)


def permutation_test(differences: ArrayLike, *, seed: int = 0, sign_flips: int = SIGN_FLIPS) -> float:
    """Two-sided p of per-problem differences between two arms: under no effect each sign is a coin's.

    Exact where the differences are whole steps of a common fraction (any number of 0/1 attempts up to a common
    denominator of 240), since then the sums over all 2^n sign patterns are counted by convolution. Otherwise sampled.
    """
    given = np.asarray(differences, dtype=np.float64)
    discordant = given[np.abs(given) > _SAME]
    if not discordant.size:
        return 1.0
    steps = _whole_steps(discordant)
    if steps is not None:
        return _exact_sign_flip(steps)
    return _sampled_sign_flip(discordant, seed, sign_flips)


def _whole_steps(differences: Floats) -> Integers | None:
    """The differences as integers over their smallest common denominator, None where it is too fine."""
    for denominator in range(1, _FINEST_STEP + 1):
        steps = np.rint(differences * denominator)
        if np.abs(differences * denominator - steps).max() < _SAME * denominator:
            return steps.astype(np.int64)
    return None


def _exact_sign_flip(steps: Integers) -> float:
    from scipy.stats import binom

    # Problems with the same size of step add a binomial number of steps; `chance[i]` is that of sum 2 i - total.
    chance = np.ones(1)
    for size, times in zip(*np.unique(np.abs(steps), return_counts=True), strict=True):
        wider = np.zeros(len(chance) + size * times)
        for ups, share in enumerate(binom.pmf(np.arange(times + 1), times, 0.5)):
            wider[ups * size : ups * size + len(chance)] += share * chance
        chance = wider
    sums = 2 * np.arange(len(chance)) - np.abs(steps).sum()
    return min(1.0, float(chance[np.abs(sums) >= abs(steps.sum())].sum()))


def _sampled_sign_flip(differences: Floats, seed: int, sign_flips: int) -> float:
    rng = np.random.default_rng(seed)
    observed = abs(differences.sum()) - _SAME
    chunk = max(1, _CELLS_AT_ONCE // len(differences))
    as_extreme = 0
    for start in range(0, sign_flips, chunk):
        signs = rng.integers(0, 2, size=(min(chunk, sign_flips - start), len(differences)), dtype=np.int8) * 2 - 1
        as_extreme += int((np.abs(signs @ differences) >= observed).sum())
    return (as_extreme + 1) / (sign_flips + 1)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's corrected p-values of one family, in the order given."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return ()
    return tuple(float(p) for p in multipletests(list(p_values), method="holm")[1])


def compare_pair(a: ArmData, b: ArmData, *, seed: int = 0) -> PairedTest:
    """One pair: exact McNemar where each problem has one plain attempt per arm, else the permutation test of means."""
    problems = require_same_problems([a, b])
    differences = a.accuracy_by_problem - b.accuracy_by_problem
    a_only, b_only = int((differences > _SAME).sum()), int((differences < -_SAME).sum())
    if a.attempts == b.attempts == 1 and a.is_zero_one and b.is_zero_one:
        method, p = "exact McNemar", mcnemar(a_only, b_only)
    else:
        method, p = "permutation of per-problem means", permutation_test(differences, seed=seed)
    return PairedTest(a.name, b.name, len(problems), float(differences.mean()), a_only, b_only, method, p)


def difference_interval(
    a: ArmData, b: ArmData, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Of the accuracy of a minus that of b: Newcombe's for one plain attempt a problem, else the bootstrap by problem.

    A bootstrap of a few problems that differ, all to one side, would leave out zero where the exact test does not.
    Several attempts that differ by the same amount on all problems give it no width: then it is that amount give or
    take Wilson's upper bound of a share that was never seen, which is conservative.
    """
    problems = require_same_problems([a, b])
    if a.attempts == b.attempts == 1 and a.is_zero_one and b.is_zero_one:
        return _newcombe(a.correct[:, 0] > 0, b.correct[:, 0] > 0, level)
    differences = a.accuracy_by_problem - b.accuracy_by_problem
    if np.ptp(differences) <= _SAME:
        unseen, same = wilson(0, len(problems), level).high, float(differences.mean())
        return Interval(max(-1.0, same - unseen), min(1.0, same + unseen), "wilson", level)
    rows = resample_counts(len(problems), resamples, seed)
    return percentile_interval(np.concatenate([counts @ differences / len(problems) for counts in rows]), level)


def _newcombe(a: NDArray[np.bool_], b: NDArray[np.bool_], level: float) -> Interval:
    """Square-and-add of the two Wilson intervals with the correlation of the pairs (Newcombe 1998, method 10)."""
    n = len(a)
    both, a_only, b_only, neither = (int(x.sum()) for x in (a & b, a & ~b, ~a & b, ~a & ~b))
    margins = (both + a_only) * (b_only + neither) * (both + b_only) * (a_only + neither)
    agreement: float = both * neither - a_only * b_only
    if agreement > 0:
        agreement = max(agreement - n / 2, 0.0)
    correlation = agreement / math.sqrt(margins) if margins else 0.0
    first, second = wilson(int(a.sum()), n, level), wilson(int(b.sum()), n, level)
    difference = float(a.mean() - b.mean())

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    low = difference - reach(float(a.mean()) - first.low, second.high - float(b.mean()))
    high = difference + reach(first.high - float(a.mean()), float(b.mean()) - second.low)
    return Interval(max(-1.0, low), min(1.0, high), "Newcombe", level)


def compare_pairs(
    arms: Sequence[ArmData], family: Iterable[tuple[str, str]], *, exploratory: bool = True, seed: int = 0
) -> tuple[PairedTest, ...]:
    """The declared family with Holm's correction, then (unless refused) every other pair, marked exploratory."""
    declared = [(arm_named(arms, a), arm_named(arms, b)) for a, b in family]
    keys = [frozenset((a.name, b.name)) for a, b in declared]
    if any(len(key) == 1 for key in keys) or len(set(keys)) < len(keys):
        pairs = ", ".join(f"{a.name} – {b.name}" for a, b in declared)
        raise StudyError(f"the comparison family names a pair twice or an arm with itself ({pairs}); name each once")
    tests = [compare_pair(a, b, seed=seed) for a, b in declared]
    corrected = [replace(test, p_holm=p) for test, p in zip(tests, holm([test.p for test in tests]), strict=True)]
    others = [pair for pair in combinations(arms, 2) if frozenset(arm.name for arm in pair) not in keys]
    return (*corrected, *(compare_pair(a, b, seed=seed) for a, b in others if exploratory))


def minimum_detectable_difference(
    problems: int, discordant: float, *, power: float = 0.8, level: float = 0.05
) -> float:
    """The smallest difference in accuracy that `problems` would show with that power (two-sided test at `level`).

    `discordant` is the share of problems on which the arms differ. A result above `discordant` means that nothing is
    detectable: accuracies cannot differ by more than that.
    """
    if problems < 1 or not 0 < discordant <= 1:
        raise StudyError(
            f"{problems} problems with a discordant share of {discordant}: need >= 1 and a share in (0, 1]"
        )
    return _deviations(power, level) * math.sqrt(discordant / problems)


def needed_problems(difference: float, discordant: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """Problems needed to show a difference in accuracy: n = (z_level + z_power)² · discordant / difference²."""
    if not 0 < abs(difference) <= discordant <= 1:
        raise StudyError(
            f"a difference of {difference} with a discordant share of {discordant} is impossible; "
            f"need 0 < |difference| <= discordant <= 1, both as shares (5 points = 0.05)"
        )
    return math.ceil(_deviations(power, level) ** 2 * discordant / difference**2)


def _deviations(power: float, level: float) -> float:
    from scipy.stats import norm

    if not (0 < power < 1 and 0 < level < 1):
        raise StudyError(f"power {power} and level {level} must lie between 0 and 1, for example 0.8 and 0.05")
    return float(norm.ppf(1 - level / 2) + norm.ppf(power))
