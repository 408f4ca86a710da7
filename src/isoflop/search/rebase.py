"""REBASE, reward-balanced search (arXiv 2408.00724, section 3): open prefixes share the width by their rewards.

B_0 = width first steps are sampled. At each depth the reward R_j scores the open prefixes, C of the children have
finished, the budget shrinks to B_i = B_{i-1} - C, and prefix j gets its share of B_i * softmax(R / T)_j children. It
ends when the budget is 0: `width` solutions, for a few more tokens than sampling them, spent where the reward says.

    balance([0.9, 0.5, 0.8], width=8, temperature=0.2, rule="round")        # [4, 1, 3]

`score="calibrated"` is not the paper's: shares are in proportion to p-hat(R), the chance that a prefix is right by a
Platt fit of the reward (`isoflop.stats.calibration`). Where the p-hat of the open prefixes lie no further apart than
the standard error of the fit, the reward does not tell them apart, and the width is shared evenly. Nor are these, each
one field: `score="logit"` (as in particle filtering, arXiv 2502.01618), `floor`, `merge`, `rounds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import numpy as np

from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.errors import RewardError, SpecError, did_you_mean
from isoflop.search.base import Expand, Score, Search, Strategy
from isoflop.search.choose import generator, systematic
from isoflop.search.merge import counted, first_of_each
from isoflop.search.rounds import in_rounds, purpose, require_rounds
from isoflop.specs import require
from isoflop.stats.calibration import Platt

BalanceRule = Literal["round", "ceil", "systematic", "multinomial"]
ShareRule = Literal["softmax", "logit", "calibrated"]
_CLIP = 1e-6  # a reward of exactly 0 or 1 would have an infinite logit
_ROUNDING = 1e-9  # a share that is whole but for rounding must not be rounded up


@dataclass(frozen=True)
class Rebase(Strategy):
    """`rebase(width=8)`. `temperature` is T of the allocation (0.1 in the paper, 0.2 in its released configuration);
    `balance` the rule that makes whole numbers of the shares (`round` in the paper, `ceil` in its released code).

    `rebase(width=8, score="calibrated", calibration="FILE.json")`: the file is what `Platt.save` writes, read when a
    search starts. A study's hash holds its name and not what is in it: give a new fit a new name. `score="logit"`:
    softmax of the rewards' logits over `temperature`, for which 1 is the natural value. `floor`: the part of the
    width that is shared evenly, whatever the rewards say. `merge`: identical prefixes share one place, and identical
    solutions vote as often as they came. `rounds`: at most so many trees, until an answer leads with `confidence`.
    """

    spec_name: ClassVar[str] = "rebase"
    guided: ClassVar[bool] = True

    width: int
    temperature: float = 0.1
    balance: BalanceRule = "round"
    score: ShareRule = field(default="softmax", kw_only=True)
    calibration: str = field(default="", kw_only=True)
    floor: float = field(default=0.0, kw_only=True)
    merge: bool = field(default=False, kw_only=True)
    rounds: int = field(default=1, kw_only=True)
    confidence: float = field(default=0.95, kw_only=True)
    vote: VoteRule = field(default="weighted", kw_only=True)

    def __post_init__(self) -> None:
        require(self.width >= 1, f"rebase(width={self.width}): width is the number of solutions, at least 1")
        require(self.temperature > 0, f"rebase(temperature={self.temperature}): must be above 0")
        require(0 <= self.floor < 1, f"rebase(floor={self.floor}): a part of the width, 0 to below 1")
        require_rounds("rebase", self.rounds, self.confidence)
        if self.score != "calibrated":
            require(
                not self.calibration,
                f"rebase(calibration={self.calibration!r}) is given in vain without score='calibrated'",
            )
            return
        require(
            self.calibration != "",
            "rebase(score='calibrated') needs calibration='FILE.json', a fit saved by isoflop.stats.calibration.Platt",
        )
        require(
            self.temperature == type(self).temperature,
            f"rebase(temperature={self.temperature}) is given in vain with score='calibrated', which has none",
        )

    def search(self, root: Trajectory) -> Search:
        """A tree, or several."""
        return (yield from in_rounds(self._tree, root, self.rounds, self.confidence))

    def _tree(self, root: Trajectory, number: int) -> Search:
        """Balance, expand, score, move the finished aside; repeat."""
        fit = Platt.load(self.calibration) if self.score == "calibrated" else None
        rng = generator(root, purpose("rebase", number))
        finished: list[Trajectory] = []
        [children] = yield Expand((root,), (self.width,))
        while True:
            finished += [node for node in children if node.finished]
            open_ends = [node for node in children if not node.finished]
            if not open_ends:
                return first_of_each(finished) if self.merge else finished
            came = counted(first_of_each(open_ends) if self.merge else open_ends)
            parents, counts = list(came), list(came.values())
            rewards = yield Score(parents)
            left, last = self.width - len(finished), [steps[-1] for steps in rewards]
            if fit is not None:
                widths = balance_calibrated(last, left, fit, self.balance, rng, counts=counts, floor=self.floor)
            else:
                values = [_logit(reward) for reward in last] if self.score == "logit" else last
                widths = balance(values, left, self.temperature, self.balance, rng, counts=counts, floor=self.floor)
            kept = [index for index, share in enumerate(widths) if share]
            grown = yield Expand([parents[index] for index in kept], [widths[index] for index in kept])
            children = [node for siblings in grown for node in siblings]


def balance(
    rewards: Sequence[float],
    width: int,
    temperature: float,
    rule: BalanceRule = "round",
    rng: np.random.Generator | None = None,
    *,
    counts: Sequence[int] | None = None,
    floor: float = 0.0,
) -> list[int]:
    """Share `width` children among prefixes by softmax(rewards / temperature); the widths, in input order, sum to it.

    `round`: the paper's equation, repaired by largest remainder. `ceil`: the released code's rule: highest reward
    first, ceil(width left * weight / weight left). `systematic` and `multinomial` draw. Ties are broken by `rng`;
    without one in input order, and the drawn rules use a fixed seed. A prefix that stands for several counts as so
    many (`counts`), and a part `floor` of the width is shared evenly among all of those. Raises SpecError for a width,
    temperature or rule that means nothing, RewardError for rewards that are no finite numbers.
    """
    require(temperature > 0, f"balance: temperature={temperature} must be above 0")
    _check(rewards, width, rule)
    top = max(rewards, default=0.0)
    weights = [math.exp((reward - top) / temperature) for reward in rewards]
    return _share(_with_floor(weights, counts, floor), width, rule, rng)


def balance_calibrated(
    rewards: Sequence[float],
    width: int,
    fit: Platt,
    rule: BalanceRule = "round",
    rng: np.random.Generator | None = None,
    *,
    counts: Sequence[int] | None = None,
    floor: float = 0.0,
) -> list[int]:
    """As `balance`, by p-hat of rewards in [0, 1]; evenly where all p-hat lie within the fit's standard error."""
    _check(rewards, width, rule)
    chances = [float(chance) for chance in fit.probabilities(rewards)]
    if chances and max(chances) - min(chances) <= fit.standard_error:
        chances = [1.0] * len(chances)
    return _share(_with_floor(chances, counts, floor), width, rule, rng)


def _with_floor(weights: Sequence[float], counts: Sequence[int] | None, floor: float) -> Sequence[float]:
    """Weights, each times how many it stands for, a part `floor` of their sum shared evenly among those."""
    if not floor and (not counts or max(counts) == 1):
        return weights
    many = counts or [1] * len(weights)
    credited = [weight * count for weight, count in zip(weights, many, strict=True)]
    total, heads = math.fsum(credited), sum(many)
    return [(1 - floor) * weight / total + floor * n / heads for weight, n in zip(credited, many, strict=True)]


def _logit(reward: float) -> float:
    inside = min(max(reward, _CLIP), 1 - _CLIP)
    return math.log(inside) - math.log1p(-inside)


def _share(weights: Sequence[float], width: int, rule: BalanceRule, rng: np.random.Generator | None) -> list[int]:
    """Whole widths in proportion to the weights."""
    if not weights:
        return []
    total = math.fsum(weights)
    shares = [width * weight / total for weight in weights]
    order = range(len(weights)) if rng is None else [int(i) for i in rng.permutation(len(weights))]
    if rule == "round":
        return _largest_remainder(shares, width, order)
    if rule == "ceil":
        return _ceil_highest_first(weights, width, order)
    drawn = np.random.default_rng(0) if rng is None else rng
    if rule == "systematic":
        return systematic(shares, width, float(drawn.random())) if width else [0] * len(shares)
    return [int(count) for count in drawn.multinomial(width, np.asarray(weights) / total)]


def _largest_remainder(shares: Sequence[float], width: int, order: Sequence[int]) -> list[int]:
    """Round down, then one more for the largest remainders until the width is spent: rounding, repaired."""
    widths = [math.floor(share + _ROUNDING) for share in shares]
    by_remainder = sorted(order, key=lambda i: round(widths[i] - shares[i], 9))
    for i in by_remainder[: width - sum(widths)]:
        widths[i] += 1
    return widths


def _ceil_highest_first(weights: Sequence[float], width: int, order: Sequence[int]) -> list[int]:
    """The released rule. The tail gets nothing once the width is spent."""
    widths = [0] * len(weights)
    by_weight = sorted(order, key=lambda i: -weights[i])
    for place, i in enumerate(by_weight):
        # Summed anew: subtracting the weights one by one would lose the small ones to rounding.
        left = math.fsum(weights[j] for j in by_weight[place:])
        share = width * weights[i] / left if left else width  # weights that underflowed to 0 are not worth a division
        widths[i] = min(width, math.ceil(share - _ROUNDING))
        width -= widths[i]
    return widths


def _check(rewards: Sequence[float], width: int, rule: str) -> None:
    if rule not in get_args(BalanceRule):
        raise SpecError(f"balance rule {rule!r} is unknown{did_you_mean(rule, get_args(BalanceRule))}")
    require(width >= 0, f"balance: width={width} must be 0 or more")
    require(len(rewards) > 0 or width == 0, f"balance: there is nobody to share a width of {width} among")
    for reward in rewards:
        if not math.isfinite(reward):
            raise RewardError(f"balance: reward {reward!r} is not a finite number; rewards: {list(rewards)}")
