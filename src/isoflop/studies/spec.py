"""What is compared: an Arm is (engine, reward, strategy, prompt, sampling, budget); a Study, problems x arms x seeds.

Everything here is light: specs and strings, nothing opened, nothing run. A study says before the first attempt which
arm is the reference and which pairs are tested; its `hash` is stored with the run, so neither can be chosen afterwards.

    study = Study(problems="gsm8k(path='test.jsonl', limit=64)", arms=[Arm.of(model="DIR", strategy="greedy()")])
    [study.label(arm) for arm in study.arms]      # ["greedy()"]

Why declare first: the published comparison this project rebuilds tested no pair, and four of its rows differ by chance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from isoflop import specs
from isoflop.asking import SamplingParams
from isoflop.cost.ledger import Budget
from isoflop.engines.base import EngineSpec
from isoflop.errors import StudyError, did_you_mean
from isoflop.rewards.base import RewardSpec
from isoflop.search.base import Strategy

if TYPE_CHECKING:
    from isoflop.problems.base import ProblemSet, Split
    from isoflop.problems.prompts import PromptFormat

DEFAULT_REWARD = "logprob()"  # for strategies that ask for a reward where none was named
DEFAULT_PROMPT = "chat()"
_SAMPLING, _NO_LIMIT = SamplingParams(), Budget()
_LABEL_AXES = ("reward", "prompt", "sampling", "budget")


@dataclass(frozen=True)
class Arm:
    """One way of solving a problem. `name` replaces its label; `reward` is None where the strategy asks for none."""

    engine: EngineSpec
    strategy: Strategy
    prompt: PromptFormat
    reward: RewardSpec | None = None
    sampling: SamplingParams = _SAMPLING
    budget: Budget = _NO_LIMIT
    name: str = ""

    def __post_init__(self) -> None:
        if self.strategy.needs_reward and self.reward is None:
            object.__setattr__(self, "reward", specs.parse("reward", DEFAULT_REWARD))
        if not self.strategy.needs_reward and self.reward is not None:
            object.__setattr__(self, "reward", None)

    @classmethod
    def of(
        cls,
        *,
        model: str | EngineSpec,
        strategy: str | Strategy,
        reward: str | RewardSpec | None = None,
        prompt: str | PromptFormat = DEFAULT_PROMPT,
        sampling: str | SamplingParams = "sampling()",
        budget: Budget | None = None,
        name: str = "",
    ) -> Arm:
        """An arm from spellings or specs; `model` is a folder, a hub id, or an engine's spelling."""
        return cls(
            engine=engine_of(model) if isinstance(model, str) else model,
            strategy=_spec("strategy", strategy),
            prompt=_spec("prompt", prompt),
            reward=None if reward is None else _spec("reward", reward),
            sampling=_spec("sampling", sampling),
            budget=budget or Budget(),
            name=name,
        )

    def to_dict(self) -> dict[str, Any]:
        """As a table of a study file, only what differs from the defaults."""
        table: dict[str, Any] = {"model": str(self.engine), "strategy": str(self.strategy), "prompt": str(self.prompt)}
        if self.reward is not None:
            table["reward"] = str(self.reward)
        if self.sampling != SamplingParams():
            table["sampling"] = str(self.sampling)
        if not self.budget.unlimited:
            table["budget"] = _limits(self.budget)
        if self.name:
            table["name"] = self.name
        return table

    @property
    def amounts(self) -> dict[str, int]:
        """The whole-number fields of the strategy (n, width, simulations, ...): how much, where the rest says what."""
        found = ((field.name, getattr(self.strategy, field.name)) for field in fields(self.strategy))
        return {name: value for name, value in found if isinstance(value, int) and not isinstance(value, bool)}

    @property
    def family(self) -> tuple[str, ...]:
        """Equal for arms that differ in amounts (and budget) alone: they are points on one line of a figure."""
        rest = {
            f.name: str(getattr(self.strategy, f.name)) for f in fields(self.strategy) if f.name not in self.amounts
        }
        kind = f"{type(self.strategy).__name__} {sorted(rest.items())} {sorted(_limits(self.budget))}"
        return kind, str(self.engine), str(self.reward), str(self.prompt), str(self.sampling)


@dataclass(frozen=True)
class Study:
    """Problems x arms x seeds. `comparisons` names the pairs whose tests are declared: every arm against the
    `reference`, `all` pairs, or the pairs listed, by label; all other pairs are exploratory.

    `concurrency` says how many problems are worked on at once: it changes seconds, never a result, and is not hashed.
    """

    problems: ProblemSet
    arms: tuple[Arm, ...]
    split: Split = "test"
    seeds: tuple[int, ...] = (0,)
    reference: str | None = None
    comparisons: Literal["reference", "all"] | tuple[tuple[str, str], ...] = "reference"
    concurrency: int = 16
    name: str = "study"

    def __init__(
        self,
        problems: str | ProblemSet,
        arms: Iterable[Arm],
        split: Split = "test",
        seeds: Sequence[int] = (0,),
        reference: str | None = None,
        comparisons: Literal["reference", "all"] | Sequence[Sequence[str]] = "reference",
        concurrency: int = 16,
        name: str = "study",
    ) -> None:
        pairs = comparisons if isinstance(comparisons, str) else tuple(_pair(pair) for pair in comparisons)
        values = {
            "problems": _spec("problems", problems),
            "arms": tuple(dict.fromkeys(arms)),  # a product may meet one arm twice (a reward that is not asked for)
            "split": split,
            "seeds": tuple(seeds),
            "reference": reference,
            "comparisons": pairs,
            "concurrency": concurrency,
            "name": name,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)
        self._refuse_wrong_values()
        for key, value in self._resolved().items():
            object.__setattr__(self, key, value)

    def _refuse_wrong_values(self) -> None:
        _require(bool(self.arms), "arms: the study has none; give at least one strategy")
        known = self.problems.splits
        _require(
            self.split in known, f"split={self.split!r} is none of {self.problems}{did_you_mean(self.split, known)}"
        )
        _require(bool(self.seeds), "seeds=[] leaves nothing to run; give at least one, such as seeds=[0]")
        for seed in self.seeds:
            _require(type(seed) is int and seed >= 0, f"seeds: {seed!r} is not a whole number of 0 or more")
        _require(len(set(self.seeds)) == len(self.seeds), f"seeds={list(self.seeds)} repeats one; each is run once")
        whole = type(self.concurrency) is int and self.concurrency >= 1
        _require(whole, f"concurrency={self.concurrency!r} is not a whole number of 1 or more")
        labels = list(self._labels.values())
        twice = sorted({label for label in labels if labels.count(label) > 1})
        _require(not twice, f"name: {twice[:1]} names two arms; give each its own name or none")
        self._refuse_unfit_rewards()
        _ = self.engines  # SpecError where a reward's head has nothing to read

    def _resolved(self) -> dict[str, Any]:
        """Reference and comparisons by the arms' labels, however they were spelled."""
        found: dict[str, Any] = {}
        if self.reference is not None:
            found["reference"] = self.label(self.arm(self.reference))
        if isinstance(self.comparisons, str):
            law = (
                f"comparisons={self.comparisons!r} is unknown; allowed: 'reference', 'all', or a list of pairs of arms"
            )
            _require(self.comparisons in ("reference", "all"), law)
        else:
            found["comparisons"] = tuple(
                (self.label(self.arm(a)), self.label(self.arm(b))) for a, b in self.comparisons
            )
            for a, b in found["comparisons"]:
                _require(a != b, f"comparisons: {a!r} is paired with itself")
        return found

    def _refuse_unfit_rewards(self) -> None:
        for arm in self.arms:
            if arm.reward is None or arm.reward.spec_name != "oracle" or not arm.strategy.guided:
                continue
            _require(
                self.problems.step_oracle() is not None,
                f"reward=oracle() cannot steer {arm.strategy}: {self.problems} knows whether a final answer is right, "
                "not whether a step is; let it select only (best_of_n, weighted_vote), or steer by another reward: "
                "logprob() and random() need no model, and `isoflop list` shows those that do",
            )

    @cached_property
    def engines(self) -> tuple[EngineSpec, ...]:
        """What each arm runs on, by place: its engine, reading by its reward's head. Arms without a head join the first
        one of their engine that has one, so that the model is opened once and samples are shared."""
        heads = [None if arm.reward is None else arm.reward.head for arm in self.arms]
        read: dict[EngineSpec, EngineSpec] = {}
        for arm, head in zip(self.arms, heads, strict=True):
            if head is not None:
                read.setdefault(arm.engine, arm.engine.reading(head))
        return tuple(
            read.get(arm.engine, arm.engine) if head is None else arm.engine.reading(head)
            for arm, head in zip(self.arms, heads, strict=True)
        )

    @cached_property
    def _labels(self) -> dict[Arm, str]:
        return _labels_of(self.arms)

    def label(self, arm: Arm) -> str:
        """The arm's name, or the shortest spelling that tells it from the study's other arms."""
        return self._labels[arm]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all arms, in the order declared."""
        return tuple(self._labels[arm] for arm in self.arms)

    def arm(self, label: str) -> Arm:
        """The arm of that label (or whose strategy is spelled so, where that is one arm)."""
        found = [arm for arm in self.arms if self._labels[arm] == label]
        found = found or [arm for arm in self.arms if str(arm.strategy) == _respelled(label)]
        if len(found) != 1:
            problem = "names several arms" if found else "names no arm"
            raise StudyError(f"arm {label!r} {problem} of this study{did_you_mean(label, self.labels)}")
        return found[0]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The declared comparison family: pairs of labels."""
        if self.comparisons == "all":
            return tuple(combinations(self.labels, 2))
        if self.comparisons == "reference":
            reference = self.reference
            return () if reference is None else tuple((x, reference) for x in self.labels if x != reference)
        return self.comparisons

    @property
    def families(self) -> tuple[tuple[Arm, ...], ...]:
        """Arms grouped into lines of a figure, in the order declared."""
        groups: dict[tuple[str, ...], list[Arm]] = {}
        for arm in self.arms:
            groups.setdefault(arm.family, []).append(arm)
        return tuple(tuple(group) for group in groups.values())

    def to_dict(self) -> dict[str, Any]:
        """The canonical form, shaped like a study file; `study_from_dict` reads it back."""
        comparisons = self.comparisons
        return {
            "name": self.name,
            "problems": str(self.problems),
            "split": self.split,
            "seeds": list(self.seeds),
            **({} if self.reference is None else {"reference": self.reference}),
            "comparisons": comparisons if isinstance(comparisons, str) else [list(pair) for pair in comparisons],
            "concurrency": self.concurrency,
            "arms": [arm.to_dict() for arm in self.arms],
        }

    @property
    def hash(self) -> str:
        """Sixteen hex digits over all that may change a result or a test: not the name, not the concurrency."""
        kept = {key: value for key, value in self.to_dict().items() if key not in ("name", "concurrency")}
        return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]

    def differences(self, other: Study) -> list[str]:
        """What another study declares otherwise, one line each."""
        mine, theirs = self.to_dict(), other.to_dict()
        lines = []
        for key in dict.fromkeys([*mine, *theirs]):
            if key in ("name", "concurrency") or mine.get(key) == theirs.get(key):
                continue
            if key == "arms":
                lines += [
                    f"arm only here: {json.dumps(a, ensure_ascii=False)}" for a in mine[key] if a not in theirs[key]
                ]
                lines += [
                    f"arm only there: {json.dumps(a, ensure_ascii=False)}" for a in theirs[key] if a not in mine[key]
                ]
                continue
            lines.append(f"{key}: {mine.get(key)!r} here, {theirs.get(key)!r} there")
        return lines or (["arms: the same in another order"] if mine["arms"] != theirs["arms"] else [])


def engine_of(model: str) -> EngineSpec:
    """An engine from what a user calls a model: an engine's spelling, or a folder or hub id for the local engine."""
    name, bracket, _ = model.partition("(")
    if bracket and name.strip().isidentifier() and model.rstrip().endswith(")"):
        return specs.parse("engine", model)  # type: ignore[no-any-return]
    return specs.load_class("engine", "local")(model=model)  # type: ignore[no-any-return]


def short_model(engine: EngineSpec) -> str:
    """The last part of the model's path, for labels; the whole spelling where an engine has no model."""
    model = getattr(engine, "model", None)
    return str(model).rstrip("/").rpartition("/")[2] if model else str(engine)


def _labels_of(arms: Sequence[Arm]) -> dict[Arm, str]:
    """Strategy alone if that tells all apart; else also the model where several, then as few other axes as needed."""
    engines = list(dict.fromkeys(arm.engine for arm in arms))
    short = {engine: short_model(engine) for engine in engines}
    if len(set(short.values())) < len(engines):
        short = {engine: str(engine) for engine in engines}
    unnamed = [arm for arm in arms if not arm.name]

    def spelled(arm: Arm, axes: Sequence[str]) -> str:
        parts = [str(arm.strategy), *([short[arm.engine]] if len(engines) > 1 else [])]
        return " | ".join(parts + [text for axis in axes if (text := _axis_text(arm, axis))])

    for size in range(len(_LABEL_AXES) + 1):
        for axes in combinations(_LABEL_AXES, size):
            labels = {arm: spelled(arm, axes) for arm in unnamed}
            if len(set(labels.values())) == len(unnamed):
                return {arm: arm.name or labels[arm] for arm in arms}
    raise StudyError("two arms are spelled alike though they differ; give each a name")


def _axis_text(arm: Arm, axis: str) -> str:
    value = getattr(arm, axis)
    if isinstance(value, Budget):
        return ", ".join(f"{key}<={limit:g}" for key, limit in _limits(value).items())
    return "" if value is None else str(value)


def _limits(budget: Budget) -> dict[str, float]:
    return {f.name: limit for f in fields(budget) if (limit := getattr(budget, f.name)) is not None}


def _respelled(text: str) -> str:
    """A strategy's canonical spelling, so that `rebase(width = 8)` finds `rebase(width=8)`; other text as it is."""
    try:
        return str(specs.parse("strategy", text))
    except ValueError:
        return text


def _pair(pair: Sequence[str]) -> tuple[str, str]:
    _require(not isinstance(pair, str) and len(pair) == 2, f"comparisons: {pair!r} is not a pair of two arms")
    return pair[0], pair[1]


def _spec(family: str, value: Any) -> Any:
    return specs.parse(family, value) if isinstance(value, str) else value


def _require(condition: bool, law: str) -> None:
    if not condition:
        raise StudyError(law)
