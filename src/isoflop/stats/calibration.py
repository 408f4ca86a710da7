"""How far a reward is a probability: reliability bins, expected calibration error, and a Platt fit that mends it.

A Platt fit is p-hat = sigmoid(slope * logit(reward) + intercept). Its standard error is that of p-hat by the delta
method, the mean over the fit's own points; it takes them as independent, so several steps of one problem make it too
small. It is not a measure of how well a reward ranks: a constant reward can be calibrated.

    fit = fit_platt(rewards, correct, source="dev split of gsm8k, 400 steps")
    fit.save("calibration.json"); fit.probabilities([0.2, 0.9])
    expected_calibration_error(reliability(fit.probabilities(rewards), correct))

Platt 1999, "Probabilistic outputs for support vector machines"; ECE: Naeini et al. 2015; quantile bins: Nixon et al.,
arXiv 1904.01685.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from isoflop.errors import StudyError
from isoflop.stats.arms import Floats

FEWEST_POINTS = 20
_EDGE = 1e-6  # a reward of exactly 0 or 1 counts as this far from it, as its logit has to be finite
Binning = Literal["quantile", "width"]


@dataclass(frozen=True, slots=True)
class Platt:
    """A fit over `n` points; `source` says of what. `standard_error` is in units of probability."""

    slope: float
    intercept: float
    standard_error: float
    n: int
    source: str

    def probabilities(self, rewards: ArrayLike) -> Floats:
        """p-hat of each reward."""
        return _sigmoid(self.slope * _logit(np.asarray(rewards, dtype=np.float64)) + self.intercept)

    def save(self, path: str | Path) -> None:
        """Write the fit as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Platt:
        """Read a fit. Raises StudyError where the file holds none."""
        names = [field.name for field in fields(cls)]
        try:
            found = json.loads(Path(path).expanduser().read_text())
        except OSError as error:
            raise StudyError(f"the calibration {str(path)!r} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise StudyError(f"the calibration {str(path)!r} is no JSON: {error}") from error
        if not isinstance(found, dict) or sorted(found) != sorted(names):
            raise StudyError(f"the calibration {str(path)!r} is no Platt fit: it must hold {', '.join(names)}")
        numbers = [found[name] for name in names[:-1]]
        if any(type(number) not in (int, float) or not math.isfinite(number) for number in numbers):
            raise StudyError(f"the calibration {str(path)!r}: {', '.join(names[:-1])} must be numbers, not {numbers}")
        if found["standard_error"] < 0:
            raise StudyError(f"the calibration {str(path)!r}: standard_error={found['standard_error']} is below 0")
        return cls(**found)


def fit_platt(rewards: ArrayLike, correct: ArrayLike, *, source: str) -> Platt:
    """Fit rewards in [0, 1] to what was right (0 or 1), by maximum likelihood on Platt's own targets.

    Those stand a little inside 0 and 1, so that classes which a reward separates have a finite fit. Raises StudyError
    for fewer than `FEWEST_POINTS` points, for one class alone and for rewards that are all equal.
    """
    from statsmodels.discrete.discrete_model import Logit
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    reward, outcome = _checked(rewards, correct)
    right = int(outcome.sum())
    wrong = len(outcome) - right
    if len(outcome) < FEWEST_POINTS:
        raise StudyError(f"a Platt fit of {len(outcome)} points says nothing; it needs at least {FEWEST_POINTS}")
    if not right or not wrong:
        raise StudyError(f"a Platt fit needs right and wrong steps; here {right} are right and {wrong} wrong")
    if np.ptp(reward) == 0:
        raise StudyError(f"all {len(reward)} rewards are {reward[0]:g}: there is no slope to fit")
    design = np.column_stack([_logit(reward), np.ones(len(reward))])
    targets = np.where(outcome == 1, (right + 1) / (right + 2), 1 / (wrong + 2))
    with warnings.catch_warnings():
        # It warns where targets are met exactly. These lie inside 0 and 1, so that such a fit is finite all the same.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        found = Logit(targets, design).fit(disp=0, method="newton", maxiter=100)
    slope, intercept = (float(value) for value in found.params)
    probability = _sigmoid(design @ found.params)
    variance = np.einsum("ni,ij,nj->n", design, found.cov_params(), design)
    error = float(np.mean(probability * (1 - probability) * np.sqrt(variance)))
    return Platt(slope, intercept, error, len(outcome), source)


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions from `low` to `high`: how many, their mean, and the share that was right."""

    low: float
    high: float
    n: int
    predicted: float
    observed: float


def reliability(probabilities: ArrayLike, correct: ArrayLike, bins: int = 10, by: Binning = "quantile") -> list[Bin]:
    """Predictions in bins that hold as many points each (`quantile`) or are as wide (`width`); empty bins are left out.

    Equal predictions are never torn apart, so quantile bins may be fewer and uneven.
    """
    predicted, outcome = _checked(probabilities, correct)
    if bins < 1:
        raise StudyError(f"bins={bins}: at least 1")
    shares = np.linspace(0, 1, bins + 1)
    edges = shares if by == "width" else np.unique(np.quantile(predicted, shares))
    places = np.searchsorted(edges[1:-1], predicted, side="right")
    return [
        Bin(
            float(edges[place]),
            float(edges[min(place + 1, len(edges) - 1)]),
            int(inside.sum()),
            float(predicted[inside].mean()),
            float(outcome[inside].mean()),
        )
        for place in np.unique(places)
        for inside in [places == place]
    ]


def expected_calibration_error(table: list[Bin]) -> float:
    """Mean distance between what was predicted and what was observed, weighted by the points of each bin."""
    total = sum(row.n for row in table)
    return math.fsum(row.n * abs(row.predicted - row.observed) for row in table) / total


def _checked(values: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    value, outcome = np.asarray(values, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if value.ndim != 1 or value.shape != outcome.shape or not value.size:
        raise StudyError(f"{value.shape} numbers and {outcome.shape} outcomes: wanted one outcome for each, at least 1")
    outside = value[~((value >= 0) & (value <= 1))]
    if outside.size:
        raise StudyError(f"{outside.size} of {value.size} numbers are not in [0, 1], such as {outside[0]}")
    if not np.isin(outcome, (0, 1)).all():
        raise StudyError("an outcome is 1 (right) or 0 (wrong); leave out what could not be judged")
    return value, outcome


def _logit(probability: Floats) -> Floats:
    inside = probability.clip(_EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))  # never overflows
