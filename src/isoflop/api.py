"""What a notebook calls: `compare`, `solve` and `Run`, with everything as values, specs or spellings.

    run = isoflop.compare(model="DIR", problems="gsm8k(path='test.jsonl', limit=64)",
                          strategies=["greedy()", "self_consistency(n=8)", "rebase(width=[2, 4, 8])"])
    run.table().to_pandas()
    isoflop.solve("What is 6 times 7?", model="DIR", strategy="rebase(width=8)").answer

It holds no logic of its own: a comparison is a study, and the command line runs the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoflop import specs
from isoflop.asking import SamplingParams
from isoflop.core import Attempt, Problem
from isoflop.cost.ledger import Budget
from isoflop.engines.base import Engine, EngineSpec
from isoflop.problems.base import ProblemSet, Split
from isoflop.problems.prompts import PromptFormat
from isoflop.rewards.base import RewardContext, RewardSpec
from isoflop.search.base import Strategy
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.studies import run as runs
from isoflop.studies.progress import Progress
from isoflop.studies.spec import DEFAULT_PROMPT, DEFAULT_REWARD, Study, engine_of
from isoflop.studies.study_file import arms_of

if TYPE_CHECKING:
    from isoflop.report.figure import Figures
    from isoflop.report.table import Table

Spelled = str | specs.Spec


class Run(runs.Run):
    """A run with what a notebook wants of it: its table and its figures, as they stand."""

    def table(self) -> Table:
        """Arms, declared tests, comparisons at equal FLOPs."""
        from isoflop.report.table import Table

        return Table.of(self)

    def figure(self) -> Figures:
        """The panels and curves, to look at or to save."""
        from isoflop.report.figure import Figures

        return Figures.of(self)


def study_of(
    *,
    model: Spelled | Sequence[Spelled],
    problems: str | ProblemSet,
    strategies: Spelled | Sequence[Spelled],
    reward: Spelled | Sequence[Spelled] | None = None,
    prompt: Spelled | Sequence[Spelled] = DEFAULT_PROMPT,
    sampling: Spelled | Sequence[Spelled] = "sampling()",
    budget: Budget | Sequence[Budget] | None = None,
    protocol: Spelled | Sequence[Spelled] | None = None,
    seeds: Sequence[int] = (0,),
    split: Split = "test",
    reference: str | None = None,
    comparisons: Literal["reference", "all"] | Sequence[Sequence[str]] = "reference",
    concurrency: int = 16,
    name: str = "comparison",
) -> Study:
    """The study that compares every combination of the values given; lists, also inside spellings, multiply."""
    axes = {"model": model, "strategy": strategies, "reward": reward, "prompt": prompt, "sampling": sampling}
    arms = arms_of({**axes, "budget": budget, "protocol": protocol}, "compare")
    return Study(problems, arms, split, seeds, reference, comparisons, concurrency, name)


def compare(
    *,
    folder: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    retry_errors: bool = False,
    **declared: Any,
) -> Run:
    """Run a comparison (arguments as of `study_of`) and return the run.

    The records go to `folder`, or to `runs/NAME-HASH` here; the same call again goes on where it was stopped.
    """
    study = study_of(**declared)
    run = Run.create(study, folder or folder_of(study))
    run.execute(progress, retry_errors=retry_errors)
    return run


def folder_of(study: Study) -> Path:
    """Where a study's run goes unless another folder is named: the same study, the same folder."""
    return Path("runs") / f"{study.name}-{study.hash}"


def solve(
    question: str,
    *,
    model: str | EngineSpec | Engine,
    strategy: str | Strategy = "greedy()",
    reward: str | RewardSpec | None = None,
    prompt: str | PromptFormat = DEFAULT_PROMPT,
    sampling: str | SamplingParams = "sampling()",
    budget: Budget | None = None,
    seed: int = 0,
    gold: str | None = None,
    grader: str = "math()",
) -> Attempt:
    """One question, one strategy, one attempt. `model` may be an open engine, which stays open."""
    chosen: Strategy = _spec("strategy", strategy)
    problem = Problem("question", question, gold)
    wanted: RewardSpec | None = _spec("reward", reward or DEFAULT_REWARD) if chosen.needs_reward else None
    with ExitStack() as stack:
        if isinstance(model, Engine):
            engine = model
        else:
            spec = engine_of(model) if isinstance(model, str) else model
            engine = (spec if wanted is None or wanted.head is None else spec.reading(wanted.head)).open()
            stack.callback(engine.close)
        opened = None if wanted is None else wanted.open(RewardContext())
        if opened is not None:
            stack.callback(opened.close)
        asked = _spec("prompt", prompt).build(problem)
        values = _spec("sampling", sampling)
        job = Job("solve", problem, asked, chosen, values, seed, _spec("grader", grader), opened, budget or Budget())
        [attempt] = drive([[job]], engine)
    return attempt


def _spec(family: str, value: Any) -> Any:
    return specs.parse(family, value) if isinstance(value, str) else value
