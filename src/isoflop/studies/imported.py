"""Others' samples as a model that has already answered: every vote, best-of and pass@k curve without generating.

The file is read three times over: as problem set, as engine and as reward, all spelled `imported`. The engine hands out
a problem's samples in their order; it cannot go on from a partial solution, so only strategies that draw whole samples
run on it. What generating had cost is not in such files: tokens are counted where log-probabilities are given, FLOPs
are not known and stay 0.

    study = imported_study("samples_gsm8k.jsonl")
    Run.create(study, "runs/imported").execute()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from isoflop.asking import Prompt
from isoflop.core import Problem, Step, StepEnd, Trajectory
from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import Capabilities, Engine, EngineSpec, Generation, GenerationRequest
from isoflop.errors import ProblemError, RewardError
from isoflop.problems.base import ProblemSet, Split
from isoflop.problems.imports import ImportedSample, SampleFormat, import_samples
from isoflop.randomness import stream_key
from isoflop.rewards.base import Reward, RewardContext, RewardSpec, Scores
from isoflop.studies.spec import Study
from isoflop.studies.study_file import arms_of

UNKNOWN_TOKEN = -1


@dataclass(frozen=True)
class ImportedProblems(ProblemSet):
    """`imported(path='samples.jsonl')`: the questions and gold answers that the samples belong to, as test."""

    spec_name: ClassVar[str] = "imported"

    path: str
    form: SampleFormat | None = None

    def read(self, split: Split) -> tuple[Problem, ...]:
        """One problem for each id, in the order of the file."""
        if split == "dev":
            raise ProblemError(f"{self} has no dev: samples of others are evidence, not for choosing; use test")
        return tuple(
            Problem(samples[0].problem_id, samples[0].question, samples[0].gold)
            for samples in _by_problem(self.path, self.form).values()
        )


@dataclass(frozen=True)
class ImportedModel(EngineSpec):
    """`imported(path='samples.jsonl')`: an engine whose i-th sample of a problem is the file's i-th."""

    spec_name: ClassVar[str] = "imported"

    path: str
    form: SampleFormat | None = None

    def open(self) -> Engine:
        """The engine. Raises ProblemError where the file cannot be read."""
        return ImportedEngine(_by_problem(self.path, self.form))


@dataclass(frozen=True)
class ImportedReward(RewardSpec):
    """`imported()`: what the file's own scorer gave to each sample."""

    spec_name: ClassVar[str] = "imported"

    def open(self, context: RewardContext) -> Reward:
        """Needs nothing of the context."""
        return _Stored()


class ImportedEngine(Engine):
    """Answers at once, from the file."""

    capabilities = Capabilities(token_ids=False, continues=False)
    context_tokens = 2**31

    def __init__(self, samples: Mapping[str, Sequence[ImportedSample]]) -> None:
        self._samples = samples
        self._ready: list[Generation] = []

    def render(self, prompt: Prompt) -> str:
        """The prompt was somebody else's; the question stands for it."""
        return "\n".join([text for _, text in prompt.messages] or [prompt.text])

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """No tokenizer: lengths are not known."""
        return ()

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Look each one up."""
        self._ready += [self._found(request) for request in requests]

    def poll(self) -> list[Generation]:
        """All that was asked for."""
        ready, self._ready = self._ready, []
        return ready

    def cancel(self, ids: Sequence[int]) -> None:
        """Nothing is ever under way."""

    def release(self, search: str) -> None:
        """Nothing is held."""

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Not known."""
        return {"policy": Cost()}

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Not known."""
        return {"policy": Cost()}

    def _found(self, request: GenerationRequest) -> Generation:
        problem = request.parent.origin.problem
        samples = self._samples.get(problem.id, ())
        streams = _streams(request.parent.origin.seed, problem.id, len(samples))
        place = streams.get(request.stream)
        if place is None:
            return Generation(
                request.id,
                (),
                error=f"problem {problem.id!r} has {len(samples)} imported samples and more are asked for",
            )
        sample = samples[place]
        logprobs = sample.logprobs or ()
        readouts = () if sample.reward is None else (sample.reward,)
        tokens = (UNKNOWN_TOKEN,) * len(logprobs)
        return Generation(request.id, (Step(sample.text, tokens, logprobs, end=StepEnd.END, readouts=readouts),))


class _Stored(Reward):
    """A step carries its imported reward as its read-out."""

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Raises RewardError for a sample that came without one."""
        return Scores(tuple(tuple(_stored(step) for step in trajectory.steps) for trajectory in trajectories))


def imported_study(
    path: str,
    strategies: Sequence[str] = (),
    *,
    form: SampleFormat | None = None,
    reward: str | None = None,
) -> Study:
    """A study of the file's samples.

    Without `strategies`: majority votes at 1, 2, 4, ... as far as every problem has samples, and where all samples
    carry rewards (or else log-probabilities) also weighted votes and best-of at the same n.
    """
    pools = _by_problem(path, form)
    samples = [sample for pool in pools.values() for sample in pool]
    if reward is None and all(sample.reward is not None for sample in samples):
        reward = "imported()"
    elif reward is None and all(sample.logprobs for sample in samples):
        reward = "logprob()"
    fewest = min(map(len, pools.values()))
    sizes = [2**power for power in range(fewest.bit_length())]
    kinds = ["self_consistency", *(["weighted_vote", "best_of_n"] if reward else [])]
    model = ImportedModel(path, form)
    arms = arms_of(
        {
            "model": model,
            "strategy": list(strategies) or [f"{kind}(n={sizes})" for kind in kinds],
            "reward": reward,
            "prompt": "plain()",
        },
        f"import of {path}",
    )
    return Study(ImportedProblems(path, form), arms, name="imported")


@lru_cache(maxsize=4)
def _by_problem(path: str, form: SampleFormat | None) -> dict[str, list[ImportedSample]]:
    """Each problem's samples by their index, problems in the order of the file."""
    found: dict[str, list[ImportedSample]] = {}
    for sample in import_samples(path, form):
        found.setdefault(sample.problem_id, []).append(sample)
    for samples in found.values():
        samples.sort(key=lambda sample: sample.index)
    return found


@lru_cache(maxsize=256)
def _streams(seed: int, problem: str, samples: int) -> dict[int, int]:
    """Which sample the random stream of each child of the prompt stands for."""
    return {stream_key(seed, problem, (place,)): place for place in range(samples)}


def _stored(step: Step) -> float:
    if not step.readouts:
        raise RewardError("reward imported(): this sample came without a reward; use logprob(), or a majority vote")
    return step.readouts[0]
