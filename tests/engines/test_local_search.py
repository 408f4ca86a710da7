"""Whole searches: the local engine with few slots, with many, and the naive twin grow the same trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Attempt, Problem, Stop
from isoflop.engines.base import Engine
from isoflop.engines.local import Local
from isoflop.engines.local_engine import LocalEngine
from isoflop.engines.naive import Naive, NaiveEngine
from isoflop.rewards.base import RewardContext
from isoflop.rewards.logprob import LogProb
from isoflop.search.drive import drive
from isoflop.search.job import Job

STRATEGIES = [
    "self_consistency(n=3)",
    "beam(width=2, expand=2)",
    "particle_filter(n=3)",
    "mcts(simulations=4, expand=2)",
    "budget_forcing(think_tokens=12)",
    "rebase(width=4)",
]
PROBLEMS = [Problem(str(n), f"Tom has {n} apples and buys 4 more.", str(n + 4)) for n in range(2)]
SLOT_GB = 192 * 256 / 1e9  # 192 tokens of 256 bytes


@pytest.fixture(scope="module")
def engines(tiny_llama_folder: Path) -> tuple[LocalEngine, LocalEngine, NaiveEngine]:
    """Many slots, three slots, and the twin."""
    folder = str(tiny_llama_folder)
    many = Local(folder, context_tokens=192, memory_gb=64.5 * SLOT_GB).open()
    few = Local(folder, context_tokens=192, memory_gb=3.5 * SLOT_GB).open()
    assert few.runner.slots.count == 3
    return many, few, Naive(folder, context_tokens=192).open()


def search(engine: Engine, strategy: str) -> dict[object, Attempt]:
    """One strategy on both problems at once, by key."""
    reward = LogProb().open(RewardContext())
    sampling = SamplingParams(max_tokens=30, answer_tokens=4)
    jobs = [
        [
            Job(
                problem.id,
                problem,
                Prompt(problem.question),
                specs.parse("strategy", strategy),
                sampling,
                0,
                MathGrader(),
                reward,
            )
        ]
        for problem in PROBLEMS
    ]
    return {attempt.key: attempt for attempt in drive(jobs, engine, concurrency=2)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_three_grow_the_same_trees(engines: tuple[LocalEngine, LocalEngine, NaiveEngine], strategy: str) -> None:
    many, few, naive = (search(engine, strategy) for engine in engines)
    for problem in PROBLEMS:
        attempts = [found[problem.id] for found in (many, few, naive)]
        assert attempts[0].stop is Stop.FINISHED, attempts[0].message
        trees = [{(node.path, node.tokens) for node in attempt.nodes} for attempt in attempts]
        assert trees[0] == trees[1] == trees[2]
        assert len({attempt.answer for attempt in attempts}) == 1
        spent, scarce, wasteful = (attempt.spent["policy"] for attempt in attempts)
        assert spent.recomputed_tokens == 0
        assert spent.flops <= scarce.flops
        assert spent.flops < wasteful.flops
        # What is charged does not depend on the engine; what was spent with room for all is no more than that.
        assert len({attempt.charged["policy"].flops for attempt in attempts}) == 1
        assert spent.flops <= attempts[0].charged["policy"].flops
    for engine in engines[:2]:
        assert not engine._paths.held.any()
