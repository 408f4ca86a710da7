"""What a study will take, before it runs: FLOPs, tokens, roofline seconds, money, and what n cannot show.

Each arm's own strategy is run on a few of the problems over an engine that makes up text of assumed lengths and prices
it by the model's shape, from its config alone: thoughts where the engine thinks, and reward models by their own shapes.
Where a reward's shape is not known it is taken to be free, and the plan says so.
A plan is an estimate as good as its assumptions; `compare_with` says afterwards how good that was.

    plan = plan_study(study, device=find_device("h100"))
    plan.arms[0].flops_per_attempt, plan.total_flops, plan.detectable_difference
    plan.compare_with(run)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from isoflop.answers.graders import MathGrader
from isoflop.core import Problem
from isoflop.cost.devices import Device, roofline_seconds
from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import ZERO, Cost, Role
from isoflop.cost.spelled_shape import shape_of
from isoflop.engines.base import EngineSpec
from isoflop.engines.pool import Pool
from isoflop.errors import ModelError, StudyError
from isoflop.quietstar.engine import QuietStar
from isoflop.rewards.base import RewardSpec
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.stats.paired import minimum_detectable_difference
from isoflop.studies.chains import chains_of
from isoflop.studies.phantom import COMMON_ANSWER, Assumptions, Phantom, PhantomReward
from isoflop.studies.phantom_thoughts import PhantomThoughts
from isoflop.studies.record import Record
from isoflop.studies.run import Run
from isoflop.studies.spec import Study

SAMPLE = 8  # problems that are tried; the others are taken for their mean
# No forward of a model: those that need none, and the head on the policy's own states (two FLOPs a number and step).
FREE_REWARDS = ("logprob", "random", "oracle", "imported", "trunk")


@dataclass(frozen=True, slots=True)
class MoneyPrices:
    """What work costs, in any currency: by the hour of the device, or by the million tokens read and made."""

    per_hour: float | None = None
    per_million_prompt_tokens: float = 0.0
    per_million_new_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm, all figures per attempt but `money`, which is for all of them. None: cannot be known.

    `latency_seconds` is the roofline of one attempt alone; `seconds` that of its share when as many run at once as the
    study says. Both are bounds from below: no run is faster.
    """

    label: str
    attempts: int
    flops_per_attempt: float
    prompt_tokens_per_attempt: float
    new_tokens_per_attempt: float
    latency_seconds: float | None
    seconds: float | None
    money: float | None
    reward_priced: bool


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """What a plan said of an arm, and what its attempts took: FLOPs and new tokens per attempt."""

    label: str
    planned_flops: float
    actual_flops: float
    planned_new_tokens: float
    actual_new_tokens: float
    attempts: int

    @property
    def ratio(self) -> float | None:
        """Actual over planned FLOPs."""
        return self.actual_flops / self.planned_flops if self.planned_flops else None


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module. `total_flops` counts samples that arms share once; `detectable_difference` is the smallest
    difference in accuracy that n problems show with power 0.8, at the level that Holm's first step leaves of 5%."""

    arms: tuple[ArmPlan, ...]
    problems: int
    assumptions: Assumptions
    device: Device | None
    total_flops: float
    detectable_difference: float
    level: float

    @property
    def can_show_something(self) -> bool:
        """False where even arms that differ wherever they can would not be told apart."""
        return self.detectable_difference <= self.assumptions.discordant

    def compare_with(self, run: Run) -> list[ArmOutcome]:
        """Plan and reality, for the arms that have attempts by now."""
        taken: dict[str, list[Cost]] = {}
        for record in run.attempts:
            if not record.failed:
                taken.setdefault(record.arm, []).append(record.charged_total)
        return [
            ArmOutcome(
                arm.label,
                arm.flops_per_attempt,
                fmean(cost.flops for cost in taken[arm.label]),
                arm.new_tokens_per_attempt,
                fmean(cost.new_tokens for cost in taken[arm.label]),
                len(taken[arm.label]),
            )
            for arm in self.arms
            if arm.label in taken
        ]


def plan_study(
    study: Study,
    *,
    assumptions: Assumptions | None = None,
    device: Device | None = None,
    money: MoneyPrices | None = None,
) -> Plan:
    """The plan of a study. Reads the problems and each model's config; loads no model."""
    assumed = assumptions or Assumptions()
    problems = study.problems.load(study.split)
    tried = problems[:: max(1, len(problems) // SAMPLE)][:SAMPLE]
    charged: dict[int, list[Cost]] = {place: [] for place in range(len(study.arms))}
    spent = 0
    for engine in dict.fromkeys(study.engines):
        for place, cost, computed in _tried(study, engine, tried, assumed):
            charged[place].append(cost)
            spent += computed.flops
    attempts = len(problems) * len(study.seeds)
    arms = tuple(_arm_plan(study, place, attempts, costs, device, money) for place, costs in charged.items())
    level = 0.05 / max(1, len(study.pairs))
    return Plan(
        arms,
        len(problems),
        assumed,
        device,
        spent * len(problems) / len(tried) * len(study.seeds),
        minimum_detectable_difference(len(problems), assumed.discordant, level=level),
        level,
    )


def assumptions_from(run: Run) -> Assumptions:
    """What an earlier run (of the dev split, say) took: lengths of prompts, steps and solutions, agreement, and the
    share of problems on which arms differed. StudyError where it has no finished solution."""
    solutions: list[int] = []
    steps: list[int] = []
    prompts: dict[str, int] = {}
    agreeing: list[float] = []
    for record in run.attempts:
        solutions += [_tokens(record, candidate.node) for candidate in record.candidates]
        steps += [len(node.step.tokens) for node in record.nodes]
        read = record.charged_total.prompt_tokens
        if read:
            prompts[record.problem.id] = min(read, prompts.get(record.problem.id, read))
        labels = [candidate.label for candidate in record.candidates]
        if len(labels) > 1:
            agreeing.append(max(map(labels.count, labels)) / len(labels))
    if not any(solutions) or not prompts:
        raise StudyError(
            f"{run.folder} has no solution with tokens yet to estimate lengths from; state assumptions instead"
        )
    known = Assumptions(
        solution_tokens=max(1, round(fmean(solutions))),
        step_tokens=max(1, round(fmean(steps))),
        prompt_tokens=round(fmean(prompts.values())),
        source=f"estimated from {run.folder}",
    )
    discordant = _discordant(run)
    known = replace(known, agreement=fmean(agreeing)) if agreeing else known
    return replace(known, discordant=discordant) if discordant else known


@dataclass(frozen=True, slots=True)
class _ShapePrices:
    pricer: Pricer

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        return {"policy": self.pricer.prefill_cost(start, tokens)}

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        return {"policy": self.pricer.decode_cost(start, tokens)}


def _phantom(engine: EngineSpec, assumed: Assumptions) -> Phantom:
    """A model is priced by its config; an engine without one is light, and prices itself."""
    source = engine.priced_by
    if source is None:
        return Phantom(engine.open(), assumed)
    pricer, thoughts = _pricer(source, engine), None
    if isinstance(engine, QuietStar) and engine.think != "never":
        thoughts = PhantomThoughts(engine, pricer, assumed.gated, assumed.kept_drafts)
    return Phantom(_ShapePrices(pricer), assumed, thoughts)


def _pricer(model: str, spec: object) -> Pricer:
    shape, dtype = shape_of(model), getattr(spec, "dtype", None)
    return Pricer(shape.in_dtype(dtype) if dtype not in (None, "auto") else shape)


def _reward(reward: RewardSpec | None) -> PhantomReward | None:
    """What stands in for a reward; None where its cost is not known."""
    if reward is None or reward.spec_name in FREE_REWARDS:
        return PhantomReward()
    path = getattr(reward, "path", None)
    try:
        return PhantomReward(_pricer(path, reward)) if path is not None else None
    except ModelError:
        return None


def _tried(
    study: Study, engine: EngineSpec, problems: Sequence[Problem], assumed: Assumptions
) -> list[tuple[int, Cost, Cost]]:
    """(arm's place, charged, spent) of attempts on a few problems with the first seed, pools shared as in a run."""
    once = Study(study.problems, study.arms, study.split, study.seeds[:1])
    pool = Pool(_phantom(engine, assumed))
    rewards = {arm.reward: _reward(arm.reward) or PhantomReward() for arm in study.arms}
    grader = MathGrader()  # reads what the phantom writes, whatever the problems' answers look like
    chains: list[list[Job]] = []
    for chain in chains_of(once, engine, problems, set()):
        prompt = chain.arms[0].prompt.build(chain.problem)
        if chain.sharing:
            pool.share(prompt)
        chains.append(
            [
                Job(
                    place,
                    replace(chain.problem, answer=COMMON_ANSWER),  # for labelling, the most common answer is right
                    prompt,
                    arm.strategy,
                    arm.sampling,
                    chain.seed,
                    grader,
                    rewards[arm.reward],
                    arm.budget,
                )
                for arm, place in zip(chain.arms, chain.places, strict=True)
            ]
        )
    return [
        (attempt.key, sum(attempt.charged.values(), ZERO), sum(attempt.spent.values(), ZERO))
        for attempt in drive(chains, pool)
    ]


def _arm_plan(
    study: Study, place: int, attempts: int, costs: Sequence[Cost], device: Device | None, money: MoneyPrices | None
) -> ArmPlan:
    arm = study.arms[place]
    latency = seconds = None
    if device is not None:
        alone = [roofline_seconds(c.flops, c.weight_bytes + c.kv_read_bytes, device) for c in costs]
        at_once = min(study.concurrency, attempts)
        shared = [roofline_seconds(c.flops, c.weight_bytes / at_once + c.kv_read_bytes, device) for c in costs]
        latency, seconds = _mean(alone), _mean(shared)
    prompt, new = fmean(c.prompt_tokens for c in costs), fmean(c.new_tokens for c in costs)
    return ArmPlan(
        study.label(arm),
        attempts,
        fmean(cost.flops for cost in costs),
        prompt,
        new,
        latency,
        seconds,
        _money(money, attempts, seconds, prompt, new),
        _reward(arm.reward) is not None,
    )


def _money(money: MoneyPrices | None, attempts: int, seconds: float | None, prompt: float, new: float) -> float | None:
    if money is None:
        return None
    tokens = (prompt * money.per_million_prompt_tokens + new * money.per_million_new_tokens) / 1e6
    if money.per_hour is None:
        return attempts * tokens
    return None if seconds is None else attempts * (tokens + seconds / 3600 * money.per_hour)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _tokens(record: Record, node: int) -> int:
    total, place = 0, node if record.nodes else None
    while place is not None:
        total += len(record.nodes[place].step.tokens)
        place = record.nodes[place].parent
    return total


def _discordant(run: Run) -> float | None:
    """Mean share of problems on which two arms differ, over all pairs of arms and the problems both have met."""
    correct: dict[str, dict[tuple[str, int], bool]] = {}
    for record in run.attempts:
        correct.setdefault(record.arm, {})[(record.problem.id, record.seed)] = record.correct
    shares = [
        fmean(a[key] != b[key] for key in a.keys() & b.keys())
        for a, b in combinations(correct.values(), 2)
        if a.keys() & b.keys()
    ]
    return fmean(shares) if shares else None
