"""Budget forcing (s1, arXiv 2501.19393): one solution, made to think for a set number of tokens.

A solution that ends early is reopened with "Wait" and goes on; at the budget it is force-closed and answers. With a
reasoning model the budget is that of its think block, without one that of the whole text: sequential scaling, to be set
against the parallel kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isoflop.core import Trajectory
from isoflop.engines.base import Until
from isoflop.search.base import Close, Continue, Expand, Search, Strategy
from isoflop.specs import require


@dataclass(frozen=True)
class BudgetForcing(Strategy):
    """`budget_forcing(think_tokens=256)`: think until that many tokens are sampled, then answer.

    `most_waits` bounds how often an eager ending is taken back.
    """

    spec_name: ClassVar[str] = "budget_forcing"

    think_tokens: int
    wait: str = "\nWait,"
    most_waits: int = 8

    def __post_init__(self) -> None:
        require(self.think_tokens >= 1, f"budget_forcing(think_tokens={self.think_tokens}): at least 1")
        require(self.most_waits >= 0, f"budget_forcing(most_waits={self.most_waits}): 0 or more")

    def search(self, root: Trajectory) -> Search:
        """Think, wait, think, answer."""
        [[solution]] = yield Expand((root,), (1,), until=Until.THINK, max_tokens=self.think_tokens, close=False)
        for _ in range(self.most_waits):
            left = self.think_tokens - solution.num_sampled
            if left < 1:
                break
            [solution] = yield Continue((solution,), self.wait, until=Until.THINK, max_tokens=left, close=False)
        return (yield Close((solution,)))  # type: ignore[no-any-return]
