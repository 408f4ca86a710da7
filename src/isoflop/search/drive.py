"""Signatures fixed first; the body follows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from isoflop.answers.base import Grader
from isoflop.core import Attempt, Problem, Prompt, SamplingParams
from isoflop.cost.ledger import Budget
from isoflop.engines.base import Engine
from isoflop.rewards.base import Reward
from isoflop.search.base import Strategy


@dataclass(frozen=True, slots=True)
class Job:
    """One strategy on one problem with one seed. `key` comes back on the attempt."""

    key: Hashable
    problem: Problem
    prompt: Prompt
    strategy: Strategy
    sampling: SamplingParams
    seed: int
    grader: Grader
    reward: Reward | None = None
    budget: Budget = Budget()


def drive(chains: Iterable[Sequence[Job]], engine: Engine, *, concurrency: int = 16) -> Iterator[Attempt]:
    """Run chains of jobs, `concurrency` chains at once; the jobs of a chain one after another. Yields as they finish."""
    raise RuntimeError
