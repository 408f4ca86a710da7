"""How many tokens a request may sample, so that no hard limit can be exceeded.

Four limits meet: the trajectory's own (`max_tokens`, `think_tokens`), the model's context, and the attempt's token and
FLOPs budgets. What a forced close needs is always kept back. Budgets are shared evenly by the children of one request:
if all of them used all they may, the budget would be spent exactly and every one of them could still be closed.

    cap = Caps(engine, job, closing_tokens=9).of(parent, forced=0, share=Share(tokens=100, flops=None))
"""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.core import Trajectory
from isoflop.engines.base import Engine
from isoflop.search.job import Job


@dataclass(frozen=True, slots=True)
class Share:
    """What one child may still spend: new tokens and FLOPs, None for no limit."""

    tokens: int | None
    flops: float | None


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits of one job on one engine. `closing_tokens` is the length of the longest forced close (mark and prefix)."""

    engine: Engine
    job: Job
    closing_tokens: int

    @property
    def answer_tokens(self) -> int:
        """Tokens sampled behind a forced answer prefix."""
        return self.job.sampling.answer_tokens

    def room(self, parent: Trajectory) -> int:
        """Tokens that still fit behind `parent` by its own limits and the context, with the forced close kept back."""
        own = self.job.sampling.max_tokens - parent.num_sampled
        context = self.engine.context_tokens - parent.length - self.closing_tokens - self.answer_tokens
        return min(own, context)

    def of(self, parent: Trajectory, forced: int, share: Share) -> int:
        """The most tokens a child of `parent` may sample after `forced` known ones; below 1 it must not be started.

        Reading `parent` itself is not in the share: its children do that once, together.
        """
        cap = self.room(parent) - forced
        if share.tokens is not None:
            cap = min(cap, share.tokens - self.answer_tokens)
        if share.flops is not None:
            cap = self._affordable(parent, forced, cap, share.flops)
        return cap

    def can_close(self, parent: Trajectory, share: Share) -> bool:
        """Whether force-closing `parent` fits into the share."""
        if share.tokens is not None and share.tokens < self.answer_tokens:
            return False
        return share.flops is None or self._most(parent, 0, 0) <= share.flops

    def _affordable(self, parent: Trajectory, forced: int, cap: int, flops: float) -> int:
        """The largest n <= cap for which n tokens, the forced close after them and their reward fit into `flops`."""
        low, high = 0, max(cap, 0)
        while low < high:
            middle = (low + high + 1) // 2
            if self._most(parent, forced, middle) <= flops:
                low = middle
            else:
                high = middle - 1
        return low

    def _most(self, parent: Trajectory, forced: int, sampled: int) -> int:
        """FLOPs of a child with that many tokens, force-closed and scored: the most it can take."""
        reread = 1 if forced else 0  # forced tokens go in together with the parent's last token
        end = parent.length + forced + sampled
        grow = self._flops(parent.length - reread, reread + forced, sampled)
        close = self._flops(end - 1, 1 + self.closing_tokens, self.answer_tokens)
        return grow + close + self._reward(parent, forced + sampled + self.closing_tokens)

    def _flops(self, start: int, known: int, sampled: int) -> int:
        read = self.engine.prefill_cost(start, known) if known else {}
        made = self.engine.decode_cost(start + known, max(0, sampled - 1))
        thought = self.engine.thought_cost(start + known, sampled)
        return sum(cost.flops for costs in (read, made, thought) for cost in costs.values())

    def _reward(self, parent: Trajectory, tokens: int) -> int:
        if self.job.reward is None or not self.job.strategy.needs_reward:
            return 0
        return self.job.reward.price(parent, tokens + self.answer_tokens)
