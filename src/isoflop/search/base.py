"""What a strategy is: a frozen dataclass whose `search(root)` is a generator of requests.

A strategy is a decision. It yields a request, is sent the reply, and returns the trajectories that may be voted on. It
never holds a model, a clock or a cost, so the driver can run any number of searches together and no strategy can forget
to pay. (httpx writes its authentication flows this way.)

    @dataclass(frozen=True)
    class TwoSteps(Strategy):
        def search(self, root):
            [children] = yield Expand((root,), (4,))
            rewards = yield Score(tuple(children))
            best = max(zip(rewards, children), key=lambda pair: pair[0][-1])[1]
            [finished] = yield Expand((best,), (4,), until=Until.END)
            return finished

Whatever comes back from the driver is either complete or ended at a step delimiter: a path that ran into its token cap
has already been force-closed (unless `close=False` asks to leave it open). What a strategy returns is closed, too,
unless its class says `closes = False`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from isoflop.answers.aggregate import Aggregate
from isoflop.answers.vote import VoteRule
from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.specs import Spec


@dataclass(frozen=True, slots=True)
class Expand:
    """Grow `widths[i]` children from `parents[i]`. Reply: `list[list[Trajectory]]`, one list per parent, in order.

    A child grown past step ends (`until` THINK or END) is the last node of its chain of steps. `max_tokens` bounds the
    sampled tokens of each child below what its trajectory may still use; `temperature` overrides the arm's.
    """

    parents: Sequence[Trajectory]
    widths: Sequence[int]
    until: Until = Until.STEP
    temperature: float | None = None
    max_tokens: int | None = None
    close: bool = True


@dataclass(frozen=True, slots=True)
class Continue:
    """Put `text` behind each trajectory and go on. Reply: `list[Trajectory]`. A complete one is reopened: its
    end-of-sequence token, stop string or closing think mark is dropped first (budget forcing, arXiv 2501.19393)."""

    trajectories: Sequence[Trajectory]
    text: str
    until: Until = Until.END
    max_tokens: int | None = None
    close: bool = True


@dataclass(frozen=True, slots=True)
class Close:
    """Force-close what is not complete: answer prefix and a few tokens. Reply: `list[Trajectory]`, all complete."""

    trajectories: Sequence[Trajectory]


@dataclass(frozen=True, slots=True)
class Score:
    """Ask the reward. Reply: `list[tuple[float, ...]]`, a reward per step, root to leaf, for each trajectory."""

    trajectories: Sequence[Trajectory]


@dataclass(frozen=True, slots=True)
class Read:
    """Read the answers. Reply: `list[str | None]`, equal labels for answers that vote together, None for no answer."""

    trajectories: Sequence[Trajectory]


@dataclass(frozen=True, slots=True)
class Grade:
    """Ask whether complete solutions are right. Reply: `list[Outcome]`. Only strategies that make labels may
    (`sees_gold`): one that answers would leak the gold answer into its search."""

    trajectories: Sequence[Trajectory]


Request = Expand | Continue | Close | Score | Read | Grade
Search = Generator[Request, Any, Sequence[Trajectory]]


@dataclass(frozen=True)
class Strategy(Spec, ABC):
    """Base of all strategies. `vote` and `aggregate` say how the final answer is chosen among what `search` returns."""

    spec_family: ClassVar[str] = "strategy"
    # True where the strategy asks the reward while searching (not only for the final vote).
    guided: ClassVar[bool] = False
    # True where all it does is draw whole samples from the root: such arms share one pool of samples.
    pooled: ClassVar[bool] = False
    # True where it may ask for grades; its answer must not depend on them.
    sees_gold: ClassVar[bool] = False
    # True where its decisions go by the tokens' log-probabilities.
    reads_logprobs: ClassVar[bool] = False
    # False where paths that ran into a cap may be returned, and are voted on as they stand: for protocols that are
    # reproduced with their faults, and for nothing else. The attempt says so, and so does the table.
    closes: ClassVar[bool] = True

    vote: VoteRule = field(default="majority", kw_only=True)
    aggregate: Aggregate = field(default="last", kw_only=True)

    @property
    def needs_reward(self) -> bool:
        """True where a reward is asked for during the search or in the vote."""
        return self.guided or self.vote != "majority"

    @abstractmethod
    def search(self, root: Trajectory) -> Search:
        """The search itself."""
