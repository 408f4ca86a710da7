"""Protocols: presets that turn an ordinary arm into one that is run by somebody else's rules.

There is one, `as_published`: the study this package starts from (arXiv 2412.16260), its faults included. It makes of an
arm with a vote or with REBASE the arm that the study ran; the result is spelled out in ordinary specs, so a run's file
shows everything the preset did.

    AsPublished(solution_tokens=60).applied(Arm.of(model="DIR", strategy="rebase(width=6)", prompt="published()"))

In a study file: `protocol = "as-published"` or `protocol = "as_published(solution_tokens=60)"`; "corrected" is the arm
as it is. Engine and reward stay what they are. The study's Quiet-STaR is
`quietstar(model=..., thoughts="sampled", thought_vectors="dash")`: it thinks before every token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from isoflop import specs
from isoflop.asking import SamplingParams
from isoflop.errors import StudyError
from isoflop.problems.prompts import Plain, PromptFormat, Published
from isoflop.specs import Spec, require

if TYPE_CHECKING:
    from isoflop.search.base import Strategy
    from isoflop.studies.spec import Arm

REGISTRY = {"as_published": "isoflop.studies.protocol:AsPublished"}
WORDS = {"as-published": "as_published()", "corrected": None}

# Tokens: the study's cuts, and the median length of its solutions.
STEP, WHOLE, MEDIAN = 96, 384, 292
BEHIND = 64  # room behind a whole solution, for what is put there: labels, and an answer behind the suffix


@dataclass(frozen=True)
class AsPublished(Spec):
    """Cuts are to `solution_tokens`, the median length of the model's whole solutions, what the study's 96 and 384 are
    to its median of 292. `label` stands before each cut of a search but the first; "" where a model cannot read it."""

    spec_family: ClassVar[str] = "protocol"
    spec_name: ClassVar[str] = "as_published"

    solution_tokens: int = MEDIAN
    label: str = "\nStep {step}:"

    def __post_init__(self) -> None:
        require(self.solution_tokens >= 1, f"as_published(solution_tokens={self.solution_tokens}): at least 1")

    def applied(self, arm: Arm) -> Arm:
        """The arm by the study's rules. Raises StudyError for a strategy that the study did not run."""
        strategy = self._strategy(arm.strategy)
        room = self._cut(WHOLE) + BEHIND
        sampling = SamplingParams(temperature=1.0, max_tokens=room, answer_tokens=arm.sampling.answer_tokens)
        return replace(arm, strategy=strategy, prompt=_prompt(arm.prompt, strategy), sampling=sampling)

    def _strategy(self, strategy: Strategy) -> Strategy:
        name = strategy.spec_name
        if name == "self_consistency":
            spelled = f"published_vote(n={getattr(strategy, 'n')}, max_tokens={self._cut(WHOLE)})"  # noqa: B009
        elif name == "rebase":
            cuts = f"step_tokens={self._cut(STEP)}, max_tokens={self._cut(WHOLE)}"
            spelled = f"published_rebase(width={getattr(strategy, 'width')}, {cuts}, label={self.label!r})"  # noqa: B009
        else:
            raise StudyError(
                f"protocol {self} has no form of {strategy}: the study ran self_consistency(n) and rebase(width); give "
                "one of these, or leave the protocol out"
            )
        made: Strategy = specs.parse("strategy", spelled)
        return made

    def _cut(self, tokens: int) -> int:
        return max(1, round(tokens * self.solution_tokens / MEDIAN))


def protocol_of(text: str) -> AsPublished | None:
    """A protocol from its word or spelling; None for "corrected". Raises SpecError for an unknown one."""
    spelled = WORDS.get(text, text)
    found: AsPublished | None = None if spelled is None else specs.parse("protocol", spelled)
    return found


def _prompt(prompt: PromptFormat, strategy: Strategy) -> PromptFormat:
    """No delimiter ends a cut; the study's own prompt goes without its "Q:" in a search, as it did there."""
    if strategy.guided and isinstance(prompt, Published):
        prompt = Plain(
            "{question}\nA: Let's think step by step.",
            stop=prompt.stop,
            answer_prefix=prompt.answer_prefix,
            answer_stop=prompt.answer_stop,
        )
    return replace(prompt, step_end=())
