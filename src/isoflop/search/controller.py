"""A value-of-compute controller: the next step is taken only where it is expected to pay for itself.

It maximises J = accuracy - lambda · cost, with cost in solutions (a token stands for its FLOPs). Before every step it
asks which place is worth growing a child from: the prompt (widen), an open end (deepen), or a prefix that has children
already (think again: where the engine thinks at step boundaries, a child may bring a thought of its own). For each it
works out how much a solution from there would raise the chance that the leading answer is right, less lambda times the
share of a solution that is still to be written, takes the best, and stops where none is positive; not before the first
solution, for no answer is worth nothing.

The chance is Bayes' over the answers so far: a solution of reward r gives the right answer with chance r, else one of
`errors` wrong ones, all as likely. So solutions that agree are strong evidence, as long as errors differ; where errors
repeat, say fewer. Below a prefix that has a solution already only what is still to be written is new evidence: the gain
shrinks by that share.

    controller(lambda_=0.05)

Expected gain of a computation: Russell and Wefald, "Principles of Metareasoning", 1991; adaptive computation by
predicted marginal gain: arXiv 2410.04707.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.search.base import Expand, Read, Score, Search, Strategy
from isoflop.specs import require
from isoflop.stats.calibration import Platt

_SUREST = 1e-3  # no reward is taken to be surer than this
# Steps (or those of two solutions) without a new solution: what was expected of them has not come, as where rewards
# fall with depth. The first solution is then gone straight to; after it, it is time to stop.
_PATIENCE = 32
_OWN = 4  # so many children say all that a prefix's own reward said
UNSEEN = ""  # an answer that no solution has given yet


@dataclass(frozen=True)
class Controller(Strategy):
    """`lambda_`: what one solution's compute costs, in accuracy; `max_solutions` bounds it where errors never agree.

    `prior`: the chance of a solution before anything is known of the problem. `calibration`: a Platt fit that turns
    rewards into chances; without it the rewards are taken as they are.
    """

    spec_name: ClassVar[str] = "controller"
    guided: ClassVar[bool] = True

    lambda_: float = 0.02
    max_solutions: int = 32
    errors: int = 20
    prior: float = 0.5
    calibration: str = field(default="", kw_only=True)
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.lambda_ > 0, f"controller(lambda_={self.lambda_}): above 0, or it never stops by itself")
        require(self.max_solutions >= 1, f"controller(max_solutions={self.max_solutions}): at least 1")
        require(self.errors >= 1, f"controller(errors={self.errors}): at least 1 wrong answer")
        require(0 < self.prior < 1, f"controller(prior={self.prior}): a chance, between 0 and 1")

    def search(self, root: Trajectory) -> Search:
        """One step after another, while the best place is worth it."""
        fit = Platt.load(self.calibration) if self.calibration else None
        node = Place(root, self.prior)
        places, solutions, labels = [node], list[Place](), list[str | None]()
        waited, patience = 0, _PATIENCE
        while True:
            [[grown]] = yield Expand((node.trajectory,), (1,))
            [rewards] = yield Score([grown])
            child = node.add(grown, _chance(rewards[-1], fit))
            places.append(child)
            if grown.finished:
                child.solved()
                solutions.append(child)
                patience = max(patience, 2 * grown.depth)
                labels = yield Read([one.trajectory for one in solutions])
            waited = 0 if grown.finished else waited + 1
            if len(solutions) >= self.max_solutions or (solutions and waited > patience):
                break
            if waited > patience:
                node = child
                continue
            node, gain = self._best(places, solutions, labels)
            if solutions and gain <= 0:
                break
        return [one.trajectory for one in solutions]

    def _best(
        self, places: Sequence[Place], solutions: Sequence[Place], labels: Sequence[str | None]
    ) -> tuple[Place, float]:
        """The place from which a solution gains the most J, the deepest of equals, and that gain."""
        odds = answer_odds(list(zip(labels, (one.chance for one in solutions), strict=True)), self.errors)
        known = [one.trajectory.num_tokens for one in solutions] or [max(p.trajectory.num_tokens for p in places)]
        length = max(1.0, math.fsum(known) / len(known))
        gains: dict[float, float] = {}  # many places are worth the same
        best, most = places[0], -math.inf
        for place in places:
            if place.trajectory.finished:
                continue
            if (worth := place.worth) not in gains:
                gains[worth] = expected_gain(odds, worth, self.errors)
            left = max(1.0, length - place.trajectory.num_tokens) / length
            gain = gains[worth] * (left if place.has_solution else 1.0) - self.lambda_ * left
            if gain >= most:
                best, most = place, gain
        return best, most


@dataclass(slots=True, eq=False)
class Place:
    """A trajectory that may be grown: its chance of being right, and those of its children."""

    trajectory: Trajectory
    chance: float
    parent: Place | None = None
    children: list[float] = field(default_factory=list)
    has_solution: bool = False

    def add(self, trajectory: Trajectory, chance: float) -> Place:
        """A child of that chance."""
        self.children.append(chance)
        return Place(trajectory, chance, self)

    def solved(self) -> None:
        """This is a solution: note it at all that it goes through, but the prompt."""
        place: Place | None = self
        while place is not None and place.parent is not None:
            place.has_solution, place = True, place.parent

    @property
    def worth(self) -> float:
        """The chance that a solution from here is right: its own, of which each child replaces a part."""
        own = max(0, _OWN - len(self.children))
        return (math.fsum(self.children) + own * self.chance) / (len(self.children) + own)


def answer_odds(solutions: Sequence[tuple[str | None, float]], errors: int) -> dict[str, float]:
    """Odds that each answer is the right one, with UNSEEN for all answers that nobody gave; (answer, chance) each."""
    odds: dict[str, float] = {}
    for answer, chance in solutions:
        if answer is not None:
            odds[answer] = odds.get(answer, 1.0) * _evidence(chance, errors)
    return {**odds, UNSEEN: float(max(1, errors + 1 - len(odds)))}


def expected_gain(odds: Mapping[str, float], chance: float, errors: int) -> float:
    """How much one more solution, right with that chance, raises the expected chance of the leading answer."""
    total = math.fsum(odds.values())
    seen = {answer: weight for answer, weight in odds.items() if answer != UNSEEN}
    evidence, slip = _evidence(chance, errors), (1 - chance) / errors
    second, leading = sorted([0.0, 0.0, *seen.values()])[-2:]
    after, unseen = 0.0, 1.0
    for weight in seen.values():
        says_so = weight / total * chance + (1 - weight / total) * slip
        unseen -= says_so
        rival = second if weight == leading else leading
        after += says_so * max(rival, weight * evidence) / (total + weight * (evidence - 1))
    rest = max(0.0, odds[UNSEEN] - 1)
    after += max(0.0, unseen) * max(leading, evidence) / (math.fsum(seen.values()) + evidence + rest)
    return after - leading / total


def _evidence(chance: float, errors: int) -> float:
    """How much likelier an answer is given by a solution of that chance if it is right than if it is wrong."""
    return chance * errors / (1 - chance)


def _chance(reward: float, fit: Platt | None) -> float:
    chance = reward if fit is None else float(fit.probabilities([reward])[0])
    return min(max(chance, _SUREST), 1 - _SUREST)
