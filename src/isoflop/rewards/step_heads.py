"""Decoders with a small head read at the end of each step: Skywork, Qwen, and any token classifier (TRL's among them).

    specs.parse("reward", "token_prm('path/to/prm', separator='\\n\\n')").open(RewardContext())

He et al. 2024 (Skywork-o1-Open); Zhang et al. 2025 (arXiv 2501.07301, Qwen); TRL's PRMTrainer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from isoflop.rewards.format import QWEN, SKYWORK, TRL, Format, ReadOut
from isoflop.rewards.public import ModelRewardSpec
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

    `positive` is the class of a right step, `opening` what stands before the first step.
    """

    spec_name: ClassVar[str] = "token_prm"

    separator: str = "\n"
    positive: int = 1
    opening: str = TRL.opening

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.separator != "", "token_prm(separator=''): steps are read at their separator; it has to have one")
        require("{question}" in self.opening, f"token_prm(opening={self.opening!r}) does not hold {{question}}")

    def format(self) -> Format:
        """As TRL's trainer does: opening, steps and separators tokenized apart."""
        return replace(TRL, opening=self.opening, mark=self.separator)

    def readout(self) -> ReadOut:
        """The share of the positive class."""
        return ReadOut("classes", positive=self.positive)
