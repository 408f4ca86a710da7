"""Outcome reward models: sequence classifiers that give a whole conversation one number.

    specs.parse("reward", "outcome('path/to/reward-model', each_step=False)").open(RewardContext())

Cobbe et al. 2021 (arXiv 2110.14168) for verifiers of complete solutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isoflop.rewards.format import CHAT, Format, ReadOut
from isoflop.rewards.public import ModelRewardSpec
from isoflop.specs import require


@dataclass(frozen=True)
class OutcomeModel(ModelRewardSpec):
    """`outcome(path)`: question and solution as a chat (or as `template` has it), read at the end; sigmoid of a value.

    `each_step` judges every prefix as if it were the solution, so that it can steer. Without it, as such models are
    trained, the whole solution alone is judged, all its steps get that value, and the reward can only select.
    """

    spec_name: ClassVar[str] = "outcome"

    each_step: bool = True
    template: str = ""
    positive: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("{question}", "{solution}"):
            require(not self.template or field in self.template, f"outcome(template=...) does not hold {field}")

    def format(self) -> Format:
        """The tokenizer's own chat template, or plain text."""
        return Format(opening=self.template, read="end") if self.template else CHAT

    def readout(self) -> ReadOut:
        """A single logit is a value; of several classes the positive one's share."""
        return ReadOut("classes", positive=self.positive)

    def last_only(self) -> bool:
        """As asked for."""
        return not self.each_step
