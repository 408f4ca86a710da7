"""Decoders with a small head read at the end of each step: Skywork, Qwen, and any token classifier (TRL's among them).

    specs.parse("reward", "token_prm('path/to/prm', separator='\\n\\n')").open(RewardContext())

He et al. 2024 (Skywork-o1-Open); Zhang et al. 2025 (arXiv 2501.07301, Qwen); TRL's PRMTrainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from isoflop.errors import ModelError
from isoflop.rewards.format import QWEN, SKYWORK, TRL, Format, ReadOut
from isoflop.rewards.public import ModelRewardSpec
from isoflop.rewards.recorded import recorded
from isoflop.specs import require


@dataclass(frozen=True)
class Skywork(ModelRewardSpec):
    """`skywork(path)`: a value head at the newline behind each step."""

    spec_name: ClassVar[str] = "skywork"

    def format(self) -> Format:
        """Question and steps, a newline behind each line."""
        return SKYWORK

    def readout(self) -> ReadOut:
        """Sigmoid of the value."""
        return ReadOut("value")


@dataclass(frozen=True)
class QwenPrm(ModelRewardSpec):
    """`qwen_prm(path)`: two classes at `<extra_0>` behind each step of the assistant's turn."""

    spec_name: ClassVar[str] = "qwen_prm"

    def format(self) -> Format:
        """A chat with all steps in one turn."""
        return QWEN

    def readout(self) -> ReadOut:
        """The share of class 1."""
        return ReadOut("classes")


@dataclass(frozen=True)
class TokenPrm(ModelRewardSpec):
    """`token_prm(path)`: a classifier at the last token of the `separator` behind each step.

    `positive` is the class of a right step, `opening` what stands before the first step. Left out, they are what the
    checkpoint records (`recorded.py`), or else TRL's: a newline, class 1, the question alone.
    """

    spec_name: ClassVar[str] = "token_prm"

    separator: str | None = None
    positive: int | None = None
    opening: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.separator != "", "token_prm(separator=''): steps are read at their separator; it has to have one")
        require(
            self.opening is None or "{question}" in self.opening,
            f"token_prm(opening={self.opening!r}) does not hold {{question}}",
        )

    def format(self) -> Format:
        """As TRL's trainer does: opening, steps and separators tokenized apart."""
        asked = self._asked()
        return replace(TRL, opening=asked["opening"], mark=asked["separator"])

    def readout(self) -> ReadOut:
        """The share of the positive class."""
        return ReadOut("classes", positive=self._asked()["positive"])

    def _asked(self) -> Mapping[str, Any]:
        """Raises ModelError where the checkpoint was trained with something else: its numbers would mean nothing."""
        own = {"separator": self.separator, "positive": self.positive, "opening": self.opening}
        held = recorded(self.path)
        for name, value in own.items():
            if value is not None and held.get(name, value) != value:
                raise ModelError(
                    f"token_prm({self.path!r}, {name}={value!r}): the checkpoint was trained with {held[name]!r}; "
                    f"leave {name} out"
                )
        given = {name: value for name, value in own.items() if value is not None}
        return {"separator": TRL.mark, "positive": 1, "opening": TRL.opening, **held, **given}
