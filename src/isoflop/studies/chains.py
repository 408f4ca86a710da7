"""What a run still has to do, as chains of jobs, and the bench that holds what the jobs need: rewards and the grader.

Arms that only draw whole samples, from the same engine, prompt and sampling, stand in one chain for each problem and
seed: they run one after another and share a pool, so who pays for a sample depends on the order declared, never on
timing. All other jobs are chains of their own. Chains go problem by problem, so that all arms are equally far.

    for portion in portions_of(study, problems, done=set()): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass

from isoflop import specs
from isoflop.answers.base import Grader, Verdict
from isoflop.asking import Prompt
from isoflop.core import Problem, Trajectory
from isoflop.engines.base import Engine, EngineSpec
from isoflop.errors import StudyError
from isoflop.rewards.base import Reward, RewardContext, RewardSpec
from isoflop.search.fit import refuse_unfit
from isoflop.search.job import Job
from isoflop.studies.spec import Arm, Study
from isoflop.studies.store import Key


@dataclass(frozen=True, slots=True)
class Chain:
    """Jobs on one problem with one seed that run one after another. `places` are the arms' places in the study;
    `sharing` the places of all arms, finished ones too, whose samples the chain may use (empty: it shares none)."""

    problem: Problem
    place: int
    seed: int
    arms: tuple[Arm, ...]
    places: tuple[int, ...]
    sharing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Portion:
    """The part of a study that one engine does: chains of its arms."""

    engine: EngineSpec
    chains: tuple[Chain, ...]

    def trial(self) -> Portion:
        """As few chains as hold every arm."""
        first = {place: chain for chain in reversed(self.chains) for place in chain.places}
        return Portion(self.engine, tuple({id(chain): chain for chain in first.values()}.values()))


def portions_of(study: Study, problems: Sequence[Problem], done: Set[Key]) -> list[Portion]:
    """The missing attempts, engine by engine."""
    engines = dict.fromkeys(study.engines)
    found = [Portion(engine, tuple(chains_of(study, engine, problems, done))) for engine in engines]
    return [portion for portion in found if portion.chains]


def chains_of(study: Study, engine: EngineSpec, problems: Sequence[Problem], done: Set[Key]) -> Iterator[Chain]:
    """The missing attempts of the arms of one of the study's `engines`."""
    groups = _groups(study, engine)
    for place, problem in enumerate(problems):
        for seed in study.seeds:
            for group in groups:
                left = [arm for arm in group if (arm, place, seed) not in done]
                if left:
                    arms = tuple(study.arms[arm] for arm in left)
                    yield Chain(problem, place, seed, arms, tuple(left), tuple(group) if len(group) > 1 else ())


def _groups(study: Study, engine: EngineSpec) -> list[list[int]]:
    """Places of arms that share samples; an arm with a time budget shares none: what it is given would be free."""
    groups: dict[object, list[int]] = {}
    for place, arm in enumerate(study.arms):
        if study.engines[place] == engine:
            shares = arm.strategy.pooled and arm.budget.seconds is None
            groups.setdefault((arm.prompt, arm.sampling) if shares else place, []).append(place)
    return list(groups.values())


def refuse_unfit_arms(chains: Sequence[Chain], bench: Bench, engine: Engine) -> None:
    """Raise SpecError for an arm that its engine cannot run, before any attempt is made."""
    seen: set[int] = set()
    for chain in chains:
        for arm, place in zip(chain.arms, chain.places, strict=True):
            if place not in seen:
                seen.add(place)
                key = (place, chain.place, chain.seed)
                refuse_unfit(bench.job(arm, key, chain.problem, arm.prompt.build(chain.problem)), engine)


class Bench:
    """The open rewards and the grader of a study, for one engine; closed with it (`with`)."""

    def __init__(self, study: Study) -> None:
        self._grader: Grader = specs.parse("grader", study.problems.grader)
        self._context = RewardContext(self._is_correct, study.problems.step_oracle())
        self._rewards: dict[RewardSpec, Reward] = {}
        self._open = ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def job(self, arm: Arm, key: Key, problem: Problem, prompt: Prompt) -> Job:
        """One job of an arm."""
        reward = None if arm.reward is None else self._reward(arm.reward)
        return Job(key, problem, prompt, arm.strategy, arm.sampling, key[2], self._grader, reward, arm.budget)

    def _reward(self, spec: RewardSpec) -> Reward:
        """Opened when the first job asks for it."""
        if spec not in self._rewards:
            reward = spec.open(self._context)
            self._open.callback(reward.close)
            self._rewards[spec] = reward
        return self._rewards[spec]

    def _is_correct(self, trajectory: Trajectory) -> bool | None:
        problem = trajectory.origin.problem
        if problem.answer is None:
            raise StudyError(f"problem {problem.id!r} has no gold answer, so no reward can know what is correct")
        found = self._grader.extract(trajectory.visible_text)
        return None if found is None else self._grader.verify(found.text, problem.answer) is Verdict.CORRECT
