"""How good a reward is, on labelled solutions: does it tell steps apart, find errors, mean what it says, choose well.

    judgement = judge("logprob()", rewards, solutions, pools)
    judgement.within.value, judgement.calibration_error, judgement.gain("best@k").value

Measures: AUC of steps within a problem and pooled; first-error F1 (ProcessBench, arXiv 2412.06559), its threshold
chosen on one half of the problems and used on the other; calibration error before a Platt fit and, on the other half,
after; and what choosing among a problem's samples by the last step's reward gains over their majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoflop.answers.base import Grader
from isoflop.core import Channel
from isoflop.errors import StudyError
from isoflop.reward_training.labels import LabelledSolution
from isoflop.reward_training.sources import by_problem
from isoflop.reward_training.split import held_out_problems
from isoflop.stats.calibration import Bin, Platt, expected_calibration_error, fit_platt, reliability
from isoflop.stats.curves import Curve, Pool, best_at_k, pass_at_k
from isoflop.stats.discrimination import RESAMPLES, Auc, Group, pooled_auc, within_auc
from isoflop.stats.first_error import FirstErrorF1, Judged, best_threshold, first_error_f1
from isoflop.stats.intervals import Interval, percentile_interval, resample_counts
from isoflop.stats.votes import majority_at_k, weighted_at_k

StepRewards = Sequence[float]


@dataclass(frozen=True)
class Gain:
    """Accuracy at the largest k less that of the majority among the same samples, with a bootstrap by problem."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Judgement:
    """See the module; None where a measure does not exist, and `notes` say why."""

    reward: str
    within: Auc | None
    pooled: Auc | None
    bins: tuple[Bin, ...]
    platt: Platt | None
    calibration_error_after: float | None
    first_error: FirstErrorF1 | None
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]

    @property
    def calibration_error(self) -> float:
        """Mean distance of the reward, taken as a probability, from the share that is right."""
        return expected_calibration_error(list(self.bins))

    def curve(self, measure: str) -> Curve:
        """One of best@k, weighted@k, maj@k, pass@k."""
        return next(curve for curve in self.curves if curve.measure == measure)

    def gain(self, measure: str) -> Gain:
        """Over the majority."""
        by_problem = self.curve(measure).by_problem[:, -1] - self.curve("maj@k").by_problem[:, -1]
        chunks = resample_counts(len(by_problem), RESAMPLES, seed=0)
        spread = np.concatenate([counts @ by_problem / len(by_problem) for counts in chunks])
        return Gain(float(by_problem.mean()), percentile_interval(spread))


def judge(
    reward: str,
    rewards: Sequence[StepRewards],
    solutions: Sequence[LabelledSolution],
    pools: Sequence[Pool],
    errors: Sequence[tuple[str, Judged]] | None,
    source: str,
) -> Judgement:
    """All measures of one reward. `pools` have its weights; `errors` are its first errors, by problem."""
    groups = step_groups(rewards, solutions)
    scores, right = _flat(groups)
    notes: list[str] = []
    try:
        platt, after = _calibrated(groups, source)
    except StudyError as error:
        platt, after = None, None
        notes.append(f"no calibration: {error}")
    first_error = None
    if errors is not None:
        try:
            first_error = _first_error(errors)
        except StudyError as error:
            notes.append(f"no first-error F1: {error}")
    return Judgement(
        reward,
        within_auc(groups),
        pooled_auc(groups),
        tuple(reliability(scores, right)),
        platt,
        after,
        first_error,
        tuple(curve(pools) for curve in (pass_at_k, majority_at_k, weighted_at_k, best_at_k)),
        tuple(notes),
    )


def step_groups(rewards: Sequence[StepRewards], solutions: Sequence[LabelledSolution]) -> list[Group]:
    """The labelled steps of each problem."""
    return by_problem(
        (solution.problem, reward, label)
        for own, solution in zip(rewards, solutions, strict=True)
        for reward, label in zip(own, solution.labels, strict=True)
        if label is not None
    )


def pools_of(rewards: Sequence[StepRewards], solutions: Sequence[LabelledSolution], grader: Grader) -> list[Pool]:
    """A pool for each problem: the samples of the arm that drew most, weighed by the last step's reward."""
    arms = [solution.arm for solution in solutions]
    largest = max(sorted(set(arms)), key=arms.count)
    members: dict[str, list[int]] = {}
    for place, solution in enumerate(solutions):
        if solution.arm == largest:
            members.setdefault(solution.problem, []).append(place)
    pools = []
    for problem, places in members.items():
        read = [grader.extract(_visible_text(solutions[place])) for place in places]
        labels = grader.cluster([None if one is None else one.text for one in read])
        # Answers that vote together stand or fall together: the first one read speaks for its cluster.
        verdicts: dict[str | None, float] = {None: 0.0}
        right = [
            verdicts.setdefault(label, float(solutions[place].correct))
            for label, place in zip(labels, places, strict=True)
        ]
        pools.append(Pool(problem, tuple(labels), tuple(right), tuple(rewards[place][-1] for place in places)))
    return pools


def first_errors(rewards: Sequence[StepRewards], solutions: Sequence[LabelledSolution]) -> list[tuple[str, Judged]]:
    """Solutions whose labels say where the first error is, by problem; others are left out."""
    found = []
    for own, solution in zip(rewards, solutions, strict=True):
        places = [place for place, step in enumerate(solution.steps) if step.channel is Channel.VISIBLE]
        labels = [solution.labels[place] for place in places]
        first = labels.index(0.0) if 0.0 in labels else -1
        if places and None not in (labels if first < 0 else labels[:first]):
            found.append((solution.problem, Judged(tuple(own[place] for place in places), first)))
    return found


def _first_error(errors: Sequence[tuple[str, Judged]]) -> FirstErrorF1:
    half = held_out_problems([problem for problem, _ in errors], 0.5, seed=0)
    threshold = best_threshold([judged for problem, judged in errors if problem in half])
    return first_error_f1([judged for problem, judged in errors if problem not in half], threshold)


def _calibrated(groups: Sequence[Group], source: str) -> tuple[Platt, float]:
    """The fit to all steps, and what is left of the error on one half of the problems after a fit to the other."""
    half = held_out_problems([group.problem for group in groups], 0.5, seed=0)
    fitted_on, rest = (
        _flat([group for group in groups if (group.problem in half) is inside]) for inside in (True, False)
    )
    trial = fit_platt(*fitted_on, source=source)
    after = expected_calibration_error(reliability(trial.probabilities(rest[0]), rest[1]))
    scores, right = _flat(groups)
    return fit_platt(scores, right, source=f"{len(scores)} steps of {len(groups)} problems of {source}"), after


def _flat(groups: Sequence[Group]) -> tuple[list[float], list[bool]]:
    return [s for group in groups for s in group.scores], [r for group in groups for r in group.right]


def _visible_text(solution: LabelledSolution) -> str:
    return "".join(step.text for step in solution.steps if step.channel is Channel.VISIBLE)
