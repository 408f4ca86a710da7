"""What a model is asked, and how its tokens are drawn: Prompt with its Markers, and SamplingParams.

    Prompt(text="Q: How much is 2 + 2?\\nA:", markers=Markers(step_end=("\\n",), stop=("\\nQ:",)))
    SamplingParams(temperature=0.7, max_tokens=256)          # spelled `sampling(temperature=0.7, max_tokens=256)`

It is not a prompt format (`problems/prompts.py`): a format builds prompts, this is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isoflop.specs import Spec, require

REGISTRY = {"sampling": "isoflop.asking:SamplingParams"}


@dataclass(frozen=True, slots=True)
class Markers:
    """What a prompt format makes of the text that follows it.

    `step_end`: strings that end a step; `stop`: strings that end the solution; `answer_prefix` and `answer_stop`: how
    an unfinished solution is force-closed; `think`: the opening and closing mark of a reasoning model's hidden block.
    """

    step_end: tuple[str, ...] = ("\n",)
    stop: tuple[str, ...] = ()
    answer_prefix: str = "\nThe answer is"  # no space behind it: most tokenizers want the space in the number
    answer_stop: tuple[str, ...] = ("\n",)
    think: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given for one problem: plain text, or chat messages that the engine's template renders.

    `messages` holds (role, content) pairs; `assistant_prefix` is put behind the rendered template.
    """

    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    assistant_prefix: str = ""
    markers: Markers = Markers()


@dataclass(frozen=True)
class SamplingParams(Spec):
    """How tokens are drawn. `max_tokens` bounds the sampled tokens of one trajectory before it is force-closed with
    `answer_tokens` more; `think_tokens` bounds the thinking of models that have a think block; `max_steps` the depth.
    """

    spec_family: ClassVar[str] = "sampling"
    spec_name: ClassVar[str] = "sampling"

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 384
    answer_tokens: int = 16
    think_tokens: int | None = None
    max_steps: int = 64

    def __post_init__(self) -> None:
        require(self.temperature >= 0, f"temperature={self.temperature} must be 0 (greedy) or more")
        require(0 < self.top_p <= 1, f"top_p={self.top_p} must be in (0, 1]")
        require(self.top_k >= 0, f"top_k={self.top_k} must be 0 (off) or more")
        for name in ("max_tokens", "answer_tokens", "max_steps"):
            require(getattr(self, name) >= 1, f"{name}={getattr(self, name)} must be at least 1")
        require(self.think_tokens is None or self.think_tokens >= 1, f"think_tokens={self.think_tokens} must be >= 1")
