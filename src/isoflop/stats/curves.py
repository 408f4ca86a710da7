"""Every k from one pool: pass@k, best-of-k, and what guessing would reach, as curves over k = 1 .. n.

A pool is the n samples that one arm drew for one problem; the curve at k is the expected result over all subsets of k
of them, computed exactly, not over one arbitrary subset, and never 1 - (1 - p)^k with an estimated p, which is biased.
Votes live in `isoflop.stats.votes`. It does not extrapolate beyond n: `isoflop.stats.scaling` does.

    pool = Pool("p0", labels=("7", "9", None), correct=(1, 0, 0), weights=(0.9, 0.2, 0.1))
    pass_at_k([pool]).accuracy     # k = 1, 2, 3: [0.333, 0.667, 1.0]

Unbiased pass@k: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isoflop.errors import StudyError
from isoflop.stats.arms import Floats
from isoflop.stats.intervals import LEVEL, RESAMPLES, Interval, bootstrap_mean


@dataclass(frozen=True)
class Pool:
    """One problem's samples: the cluster each answer votes with (None: no answer), whether it is right, its weight.

    `weights` is None where nothing scored the samples: then passes and majorities exist, weighted choices do not.
    """

    problem: str
    labels: tuple[str | None, ...]
    correct: tuple[float, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        where = f"pool of problem {self.problem!r}"
        weights = len(self.labels) if self.weights is None else len(self.weights)
        if not self.labels or not len(self.labels) == len(self.correct) == weights:
            raise StudyError(
                f"{where} holds {len(self.labels)} labels, {len(self.correct)} correct and "
                f"{weights} weights; give one of each per sample, and at least one sample"
            )
        if self.weights is not None and not all(0 <= weight < np.inf for weight in self.weights):
            raise StudyError(f"{where} has a weight that is negative or not finite; unscored samples cannot be weighed")
        verdicts: dict[str | None, float] = {None: 0.0}
        for label, correct in zip(self.labels, self.correct, strict=True):
            if correct not in (0, 1) or verdicts.setdefault(label, correct) != correct:
                raise StudyError(
                    f"{where}: label {label!r} is marked correct={correct!r}, elsewhere {verdicts.get(label)!r}; "
                    f"answers that vote together must share one verdict (0 or 1), and no answer (None) is wrong"
                )

    @property
    def size(self) -> int:
        """Samples in the pool."""
        return len(self.labels)

    @cached_property
    def scores(self) -> Floats:
        """The weights as numbers; a StudyError where nothing scored the samples."""
        if self.weights is None:
            raise StudyError(
                f"pool of problem {self.problem!r} has no weights: best and weighted choices need a reward for every "
                f"sample; pass@k and maj@k do not"
            )
        return np.array(self.weights, dtype=np.float64)

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The distinct answers, in order of appearance."""
        return tuple(dict.fromkeys(label for label in self.labels if label is not None))

    @cached_property
    def verdicts(self) -> Floats:
        """Whether each of `answers` is right."""
        verdict = dict(zip(self.labels, self.correct, strict=True))
        return np.array([verdict[answer] for answer in self.answers], dtype=np.float64)

    @cached_property
    def votes(self) -> Floats:
        """[samples, answers]: 1 where the sample gave that answer."""
        return np.array([[float(label == answer) for answer in self.answers] for label in self.labels])


@dataclass(frozen=True, eq=False)
class Curve:
    """Expected correctness for k = 1 .. n: `by_problem` is [problems, k]; `monte_carlo_error` [k] is 0 where exact."""

    measure: str
    by_problem: Floats
    monte_carlo_error: Floats

    @property
    def k(self) -> tuple[int, ...]:
        """The values of k, the columns of `by_problem`."""
        return tuple(range(1, self.by_problem.shape[1] + 1))

    @property
    def accuracy(self) -> Floats:
        """Mean over problems, for each k."""
        means: Floats = self.by_problem.mean(axis=0)
        return means

    def interval(self, k: int, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
        """The bootstrap interval by problem at one k."""
        if k not in self.k:
            raise StudyError(
                f"{self.measure} at k={k}: the smallest pool holds {len(self.k)}; allowed: 1 to {len(self.k)}"
            )
        return bootstrap_mean(self.by_problem[:, k - 1], level, resamples, seed)


def pass_at_k(pools: Sequence[Pool]) -> Curve:
    """Chance that k samples hold a right one: 1 - C(n - c, k) / C(n, k)."""
    return exact_curve("pass@k", pools, lambda pool: 1 - all_among(pool.size - int(sum(pool.correct)), pool.size))


def best_at_k(pools: Sequence[Pool]) -> Curve:
    """Correctness of the answer with the highest weight among k samples; tied samples share the choice."""
    return exact_curve("best@k", pools, _best_of_one_pool)


def guessing_at_k(pools: Sequence[Pool], gold: Sequence[str]) -> Curve:
    """Chance level of pass@k: k answers drawn without replacement from the pools of the *other* problems.

    `gold` holds each problem's right answer, spelled as the labels are. The problem's own pool stays out, so that
    skill is not counted as luck.
    """
    if len(gold) != len(pools) or len(pools) < 2:
        raise StudyError(
            f"{len(gold)} right answers for {len(pools)} pools; the chance level needs one each "
            f"and two problems or more"
        )
    everywhere = Counter(label for pool in pools for label in pool.labels)
    samples = sum(pool.size for pool in pools)
    rows = []
    for pool, right in zip(pools, gold, strict=True):
        others = samples - pool.size
        wrong = others - (everywhere[right] - pool.labels.count(right))
        rows.append((1 - all_among(wrong, others))[: pool.size])
    return _curve("chance pass@k", rows, [np.zeros(len(row)) for row in rows])


def guessing_from_answer_space(answers: int, k: int) -> float:
    """Chance that k independent guesses, uniform over that many answers, hold the right one."""
    if answers < 1 or k < 1:
        raise StudyError(f"{k} guesses among {answers} answers; both must be at least 1")
    return 1 - (1 - 1 / answers) ** k


def all_among(chosen: int, total: int) -> Floats:
    """[k = 1 .. total]: the chance C(chosen, k) / C(total, k) that k of `total` samples all lie among `chosen`."""
    drawn = np.arange(total)
    inside: Floats = np.cumprod(np.maximum(chosen - drawn, 0) / (total - drawn), dtype=np.float64)
    return inside


def exact_curve(measure: str, pools: Sequence[Pool], of_one_pool: Callable[[Pool], Floats]) -> Curve:
    """A curve without sampling error, from a function of one pool."""
    rows = [of_one_pool(pool) for pool in pools]
    return _curve(measure, rows, [np.zeros(len(row)) for row in rows])


def sampled_curve(
    measure: str, pools: Sequence[Pool], of_one_pool: Callable[[Pool, int], tuple[Floats, Floats]]
) -> Curve:
    """A curve from a function of one pool and its number that gives the mean and its Monte Carlo variance, by k."""
    results = [of_one_pool(pool, number) for number, pool in enumerate(pools)]
    return _curve(measure, [mean for mean, _ in results], [variance for _, variance in results])


def _best_of_one_pool(pool: Pool) -> Floats:
    # A sample without an answer can only be chosen when no sample has one.
    scores = np.where([label is not None for label in pool.labels], pool.scores, -np.inf)
    correct = np.array(pool.correct, dtype=np.float64)
    expected = np.zeros(pool.size)
    for score in np.unique(scores):
        tied = scores == score
        not_above, below = int((scores <= score).sum()), int((scores < score).sum())
        is_highest = all_among(not_above, pool.size) - all_among(below, pool.size)
        expected += is_highest * correct[tied].mean()
    return expected


def _curve(measure: str, rows: Sequence[Floats], variances: Sequence[Floats]) -> Curve:
    if not rows:
        raise StudyError(f"{measure} of no pools; give at least one problem's samples")
    largest_k = min(len(row) for row in rows)
    error_of_sum: Floats = np.linalg.norm([np.sqrt(by_k[:largest_k]) for by_k in variances], axis=0)
    return Curve(measure, np.array([row[:largest_k] for row in rows]), error_of_sum / len(rows))
