"""Language models that were taught to say `+` or `-` about each step: Math-Shepherd and RLHFlow.

    specs.parse("reward", "math_shepherd('peiyi9979/math-shepherd-mistral-7b-prm')").open(RewardContext())

Wang et al. 2023 (arXiv 2312.08935); Dong et al. 2024 (arXiv 2405.07863) and RLHFlow's model cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isoflop.rewards.format import MATH_SHEPHERD, PLUS_MINUS, RLHFLOW, Format, ReadOut
from isoflop.rewards.public import ModelRewardSpec


@dataclass(frozen=True)
class MathShepherd(ModelRewardSpec):
    """`math_shepherd(path)`: "Step 1: .. ки", read at the tag. Its authors aggregate steps with `min`."""

    spec_name: ClassVar[str] = "math_shepherd"

    def format(self) -> Format:
        """Question and labelled steps as one text."""
        return MATH_SHEPHERD

    def readout(self) -> ReadOut:
        """P(+) against P(-)."""
        return PLUS_MINUS


@dataclass(frozen=True)
class RlhFlow(ModelRewardSpec):
    """`rlhflow(path)`: the user says a step, the assistant answers + or -. Its authors take the last step's."""

    spec_name: ClassVar[str] = "rlhflow"

    def format(self) -> Format:
        """A chat, two turns a step."""
        return RLHFLOW

    def readout(self) -> ReadOut:
        """P(+) against P(-)."""
        return PLUS_MINUS
