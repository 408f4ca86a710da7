"""A job: one strategy on one problem with one seed, and everything needed to run and grade it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from isoflop.answers.base import Grader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Problem
from isoflop.cost.ledger import Budget
from isoflop.rewards.base import Reward
from isoflop.search.base import Strategy


@dataclass(frozen=True, slots=True)
class Job:
    """`key` comes back on the attempt. `reward` may be None only for strategies that need none."""

    key: Hashable
    problem: Problem
    prompt: Prompt
    strategy: Strategy
    sampling: SamplingParams
    seed: int
    grader: Grader
    reward: Reward | None = None
    budget: Budget = field(default_factory=Budget)
