"""Prompt formats: how a question is put to a model, and what of its reply ends a step, ends it all, or closes it.

A format builds a `Prompt` (plain text, or messages that the engine renders through the model's own chat template) and
its `Markers`. It never sees a model. Every marker can be overridden in the spelling:

    parse("prompt", "chat(step_end=['\\n\\n'])").build(problem)

`chat` for instruction-tuned models, `steps` for base models, `reasoning` for models with think blocks, `plain` for a
template of your own, `published` for the study this package starts from (arXiv 2412.16260).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from isoflop.asking import Markers, Prompt
from isoflop.core import Problem
from isoflop.problems.examples import EXAMPLES
from isoflop.specs import Spec, require

REGISTRY = {
    "chat": "isoflop.problems.prompts:Chat",
    "steps": "isoflop.problems.prompts:Steps",
    "plain": "isoflop.problems.prompts:Plain",
    "reasoning": "isoflop.problems.prompts:Reasoning",
    "published": "isoflop.problems.prompts:Published",
}

Message = tuple[str, str]  # (role, content)

SHORT_STEPS = (
    "Solve the problem in short steps. Write one step per line, with one calculation in each, and no blank lines. "
    "Finish with a last line of the form: The answer is N."
)
AFTER_THINKING = "Think first. Then give a short solution that ends with a last line of the form: The answer is N."


@dataclass(frozen=True)
class PromptFormat(Spec, ABC):
    """Base of all formats. `step_end`, `stop`, `answer_prefix` and `answer_stop` are the markers' (see `Markers`)."""

    spec_family: ClassVar[str] = "prompt"

    _: KW_ONLY
    step_end: tuple[str, ...] = ("\n",)
    stop: tuple[str, ...] = ()
    answer_prefix: str = "\nThe answer is"  # no space behind it: most tokenizers want it in the number
    answer_stop: tuple[str, ...] = ("\n",)

    def __post_init__(self) -> None:
        for name in ("step_end", "stop", "answer_stop"):
            require(
                all(getattr(self, name)), f"{name}={getattr(self, name)!r}: an empty string ends nothing; leave it out"
            )

    @abstractmethod
    def build(self, problem: Problem) -> Prompt:
        """The prompt for one problem."""

    def markers(self, think: tuple[str, str] | None = None) -> Markers:
        """The fields that are markers, as `Markers`."""
        return Markers(self.step_end, self.stop, self.answer_prefix, self.answer_stop, think)


@dataclass(frozen=True)
class Chat(PromptFormat):
    """Messages for an instruction-tuned model: steps are lines, the last line is "The answer is N.".

    `shots` worked examples are shown as earlier turns, and are prefilled once for all that share the prompt: a small
    model follows a form that it sees, not one that it is told. `system_role=False` puts the system text in front of
    the question, for templates without that role (Gemma, Mistral).
    """

    spec_name: ClassVar[str] = "chat"

    system: str = SHORT_STEPS
    shots: int = 4
    system_role: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shots(self.shots)

    def build(self, problem: Problem) -> Prompt:
        """System text, examples as turns, question."""
        turns = [turn for asked, solved in EXAMPLES[: self.shots] for turn in (("user", asked), ("assistant", solved))]
        messages = with_system(self.system, [*turns, ("user", problem.question)], self.system_role)
        return Prompt(messages=messages, markers=self.markers())


@dataclass(frozen=True)
class Steps(PromptFormat):
    """Text for a base model: "Q: ...\\nA: Let's think step by step." (arXiv 2205.11916), after `shots` worked examples.

    With examples a step is a line; the model's own next "Q:" ends the solution.
    """

    spec_name: ClassVar[str] = "steps"

    shots: int = 0
    _: KW_ONLY
    stop: tuple[str, ...] = ("\nQ:",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shots(self.shots)

    def build(self, problem: Problem) -> Prompt:
        """Examples, then the question, up to where the model goes on."""
        opening = "Q: {}\nA: Let's think step by step."
        shown = [f"{opening.format(asked)}\n{solved}" for asked, solved in EXAMPLES[: self.shots]]
        return Prompt("\n\n".join([*shown, opening.format(problem.question)]), markers=self.markers())


@dataclass(frozen=True)
class Plain(PromptFormat):
    """Your own text around the question; `{question}` in `template` is replaced, other braces stay as they are."""

    spec_name: ClassVar[str] = "plain"

    template: str = "{question}\n"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("{question}" in self.template, f"template={self.template!r} must contain {{question}}")

    def build(self, problem: Problem) -> Prompt:
        """The template with the question in it."""
        return Prompt(self.template.replace("{question}", problem.question), markers=self.markers())


@dataclass(frozen=True)
class Reasoning(PromptFormat):
    """Messages for a model that thinks in a marked block before it answers; answers are read after the close alone.

    Steps, thoughts too, are paragraphs. `assistant_prefix` opens the block where the model's template leaves that to
    the caller: reasoning(assistant_prefix='<think>\\n').
    """

    spec_name: ClassVar[str] = "reasoning"

    system: str = AFTER_THINKING
    think: tuple[str, ...] = ("<think>", "</think>")
    assistant_prefix: str = ""
    system_role: bool = False  # the makers of most such models advise against system texts
    _: KW_ONLY
    step_end: tuple[str, ...] = ("\n\n",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(set(self.think)) == 2 and all(self.think),
            f"think={list(self.think)!r} must hold two different marks, as in ['<think>', '</think>']",
        )

    def build(self, problem: Problem) -> Prompt:
        """System text and question, and the markers of the think block."""
        messages = with_system(self.system, [("user", problem.question)], self.system_role)
        opening, closing = self.think
        markers = self.markers((opening, closing))
        return Prompt(messages=messages, assistant_prefix=self.assistant_prefix, markers=markers)


@dataclass(frozen=True)
class Published(PromptFormat):
    """The published study's own prompt and suffix (arXiv 2412.16260), for base models.

    Run it as the study did, with `sampling(max_tokens=384, answer_tokens=12)` and temperature 1. Two things differ from
    what its code ran: a solution that ends by itself before 384 tokens gets no suffix here, and its searches cut steps
    at 96 tokens where ours end at a line's end.
    """

    spec_name: ClassVar[str] = "published"

    _: KW_ONLY
    answer_prefix: str = "\nTherefore, the answer (arabic numerals) is"
    answer_stop: tuple[str, ...] = ()

    def build(self, problem: Problem) -> Prompt:
        """The question, zero-shot."""
        return Prompt(f"Q: {problem.question}\nA: Let's think step by step.", markers=self.markers())


def history(messages: Iterable[Message], think: tuple[str, str] = ("<think>", "</think>")) -> tuple[Message, ...]:
    """A conversation as a reasoning model's chat template wants it: earlier assistant turns without their thinking.

    What an assistant wrote counts from the last closing mark on; a block that was never closed hides all behind it.
    """
    return tuple((role, without_thinking(text, think) if role == "assistant" else text) for role, text in messages)


def without_thinking(text: str, think: tuple[str, str]) -> str:
    """What is visible of a reply: the text behind the last closing mark, or in front of a block left open."""
    opening, closing = think
    return text.rpartition(closing)[2].partition(opening)[0].strip("\n")


def with_system(system: str, turns: list[Message], has_role: bool) -> tuple[Message, ...]:
    """The turns behind a system text, which is put into the first turn where the template has no system role."""
    if not system:
        return tuple(turns)
    if has_role:
        return (("system", system), *turns)
    (role, first), *rest = turns
    return ((role, f"{system}\n\n{first}"), *rest)


def require_shots(shots: int) -> None:
    """Raise SpecError unless that many worked examples exist."""
    require(0 <= shots <= len(EXAMPLES), f"shots={shots} must be between 0 and {len(EXAMPLES)}")
