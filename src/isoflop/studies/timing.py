"""Seconds, measured: each arm alone on the machine, repeats interleaved, latency and throughput apart.

Records of a run carry seconds, too, but those were shared with whatever ran beside them. Here one arm runs at a time:
problems one by one for latency, then at a stated concurrency for throughput. Repeats go round all arms, so that a
machine that slows down slows all of them; several engines take turns, opened anew, so that each has the memory to
itself. Nothing is pooled and nothing is stored.

    timing = time_study(study, problems=8, repeats=3)
    timing.arms[0].latency_p50_seconds, timing.arms[0].problems_per_second
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from isoflop.core import Problem
from isoflop.cost.energy import EnergyMeter
from isoflop.engines.base import Engine, EngineSpec
from isoflop.errors import StudyError
from isoflop.search.drive import drive
from isoflop.studies.chains import Bench
from isoflop.studies.hardware import describe_hardware
from isoflop.studies.spec import Arm, Study


@dataclass(frozen=True, slots=True)
class ArmTiming:
    """One arm. Latencies are over all problems and repeats, one problem at a time; throughputs one a repeat, their
    median beside them."""

    label: str
    latency_p50_seconds: float
    latency_p95_seconds: float
    problems_per_second: float
    new_tokens_per_second: float
    problems_per_second_by_repeat: tuple[float, ...]
    joules_per_problem: float | None  # of the whole machine, at the stated concurrency; None where no meter exists


@dataclass(frozen=True, slots=True)
class Timing:
    """All arms, and under which conditions they were measured."""

    arms: tuple[ArmTiming, ...]
    problems: int
    repeats: int
    concurrency: int
    hardware: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def time_study(
    study: Study,
    *,
    problems: int = 8,
    alone: int | None = None,
    repeats: int = 3,
    concurrency: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Timing:
    """Measure every arm on the first problems: `alone` of them (all, if left out) one by one, too, for latency, and all
    of them together. `progress` is told what is measured next."""
    singly = problems if alone is None else alone
    if min(problems, repeats, singly) < 1:
        raise StudyError(f"problems={problems}, alone={singly} and repeats={repeats} must be at least 1")
    at_once = concurrency or study.concurrency
    chosen = study.problems.load(study.split)[:problems]
    found: dict[Arm, _Measured] = {arm: _Measured() for arm in study.arms}
    engines, rounds = list(dict.fromkeys(study.engines)), range(1, repeats + 1)
    # One engine stays open for all rounds.
    for turn in [rounds] if len(engines) == 1 else [[one] for one in rounds]:
        for engine in engines:
            _time_engine(study, engine, chosen, singly, turn, repeats, at_once, found, progress or (lambda _: None))
    arms = tuple(found[arm].summary(study.label(arm)) for arm in study.arms)
    return Timing(arms, len(chosen), repeats, at_once, describe_hardware())


class _Measured:
    """What was measured of one arm so far."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.problems_per_second: list[float] = []
        self.new_tokens_per_second: list[float] = []
        self.joules_per_problem: list[float] = []

    def summary(self, label: str) -> ArmTiming:
        p50, p95 = np.percentile(self.latencies, [50, 95])
        return ArmTiming(
            label,
            float(p50),
            float(p95),
            median(self.problems_per_second),
            median(self.new_tokens_per_second),
            tuple(self.problems_per_second),
            median(self.joules_per_problem) if self.joules_per_problem else None,
        )


def _time_engine(
    study: Study,
    spec: EngineSpec,
    problems: Sequence[Problem],
    singly: int,
    rounds: Iterable[int],
    repeats: int,
    concurrency: int,
    found: dict[Arm, _Measured],
    progress: Callable[[str], None],
) -> None:
    """Rounds through the arms of one engine."""
    arms = [arm for arm, engine in zip(study.arms, study.engines, strict=True) if engine == spec]
    with ExitStack() as stack:
        engine = stack.enter_context(closing(spec.open()))
        bench = stack.enter_context(Bench(study))
        for arm in arms:  # what is compiled, allocated or read on first use is not measured
            progress(f"{study.label(arm)}: warming up")
            _attempts(study, bench, arm, problems[:1], engine, concurrency)
        for turn in rounds:
            for arm in arms:
                progress(f"{study.label(arm)}: repeat {turn} of {repeats}")
                latencies, _, _ = _attempts(study, bench, arm, problems[:singly], engine, 1)
                with EnergyMeter() as energy:
                    _, seconds, new_tokens = _attempts(study, bench, arm, problems, engine, concurrency)
                if energy.joules is not None:
                    found[arm].joules_per_problem.append(energy.joules / len(problems))
                found[arm].latencies += latencies
                found[arm].problems_per_second.append(len(problems) / seconds)
                found[arm].new_tokens_per_second.append(new_tokens / seconds)


def _attempts(
    study: Study, bench: Bench, arm: Arm, problems: Sequence[Problem], engine: Engine, concurrency: int
) -> tuple[list[float], float, int]:
    """Seconds of each attempt, seconds of all, and the tokens made. StudyError where one fails."""
    seed = study.seeds[0]
    jobs = [[bench.job(arm, (0, place, seed), one, arm.prompt.build(one))] for place, one in enumerate(problems)]
    started = time.perf_counter()
    attempts = list(drive(jobs, engine, concurrency=concurrency))
    seconds = time.perf_counter() - started
    for attempt in attempts:
        if attempt.stop == "error":
            raise StudyError(f"{study.label(arm)} failed on problem {attempt.problem.id!r}: {attempt.message}")
    new_tokens = sum(cost.new_tokens for attempt in attempts for cost in attempt.spent.values())
    return [attempt.seconds for attempt in attempts], seconds, new_tokens
