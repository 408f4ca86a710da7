"""Problems and training seeds drawn anew, together: every mean that the hypotheses need, for all draws at once.

Problems are crossed with seeds (each model meets all problems), so a draw takes problems once for all seeds, and seeds
once for all problems. What is compared is differences within a draw: what all arms share cancels. A mixture's share is
worked out anew in each draw and seed, so that its mean cost is the budget: costs do not know what is right.

Crossed bootstrap: Owen, "The pigeonhole bootstrap", 2007. It is on the wide side for problems, and on the narrow one
where training seeds are few and differ: five seeds drawn anew vary less than five new ones would. So the same sign is
asked of every seed, and every seed's own numbers are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.claim.choices import Mix
from isoflop.claim.evidence import Evidence
from isoflop.stats.arms import Floats
from isoflop.stats.intervals import resample_counts

RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Draws:
    """Means of every arm: `correct` and `cost` are [arms, training seeds, draws]; `seeds` [training seeds, draws] says
    how much of each seed a draw holds. The first draw is the data as they are."""

    labels: tuple[str, ...]
    correct: Floats
    cost: Floats
    seeds: Floats

    @classmethod
    def of(cls, evidence: Evidence, *, by_seconds: bool = False, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
        """`by_seconds`: cost is measured seconds, one figure an arm and training seed."""
        arms, seeds, problems = evidence.correct.shape
        stacked = np.concatenate([evidence.correct, evidence.flops]).reshape(-1, problems)
        means = [stacked.mean(axis=1, keepdims=True)]
        for counts in resample_counts(problems, resamples, seed):
            means.append(stacked @ counts.T.astype(np.float64) / problems)
        both = np.concatenate(means, axis=1).reshape(2, arms, seeds, -1)
        cost = both[1]
        if by_seconds:
            assert evidence.seconds is not None
            cost = np.broadcast_to(evidence.seconds[:, :, None], both[1].shape)
        return cls(evidence.labels, both[0], cost, _seed_shares(seeds, resamples, seed))

    def mixture(self, mix: Mix, budget: Floats) -> tuple[Floats, Floats]:
        """Accuracy and cost [training seeds, draws] of an arm, or of two mixed so that the mean cost is `budget`."""
        places = [self.labels.index(label) for label in mix]
        if len(places) == 1:
            return self.correct[places[0]], self.cost[places[0]]
        a, b = places
        # As much of the second as fits, between none and all of it: it may be the dearer or the cheaper one.
        gap = self.cost[b] - self.cost[a]
        share = np.clip(np.divide(budget - self.cost[a], gap, out=np.zeros_like(budget), where=gap != 0), 0, 1)
        return (
            (1 - share) * self.correct[a] + share * self.correct[b],
            (1 - share) * self.cost[a] + share * self.cost[b],
        )

    def over_seeds(self, values: Floats) -> Floats:
        """[draws]: the mean over the seeds that each draw holds."""
        means: Floats = (values * self.seeds).sum(axis=0)
        return means


def _seed_shares(seeds: int, resamples: int, seed: int) -> Floats:
    """One seed alone cannot be drawn anew: its draws all hold it."""
    drawn = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    shares: Floats = np.concatenate([np.full((1, seeds), 1 / seeds), drawn / seeds]).T
    return shares
