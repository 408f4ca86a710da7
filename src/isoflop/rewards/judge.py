"""A generative verifier: an instruction model is asked whether the solution is right so far; P(Yes) against P(No).

With `check_tokens` it first writes a check, greedily, and is then asked for its verdict (`score_check.py`): far dearer,
and more often right. It is not trained for this: measure it on labelled steps before you trust it.

    specs.parse("reward", "judge('Qwen/Qwen2.5-0.5B-Instruct', check_tokens=200)").open(RewardContext())

Zhang et al. 2024 (arXiv 2408.15240); Khalifa et al. 2025 (arXiv 2504.16828).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from isoflop.rewards.format import Format, ReadOut
from isoflop.rewards.public import ModelRewardSpec
from isoflop.specs import require

if TYPE_CHECKING:
    from isoflop.rewards.models import ScoringModel
    from isoflop.rewards.scorer import Scorer

ASK = "Question:\n{question}\n\nSolution so far:\n{solution}\n\n"
DIRECT = ASK + "Is every step of this solution correct? Answer with one word, Yes or No."
CHECKED = ASK + "Check every step of this solution briefly. Then say whether all of them are correct: Yes or No."
VERDICT = "\n\nAre all steps correct?\n"


@dataclass(frozen=True)
class Judge(ModelRewardSpec):
    """`judge(path)`: `prompt` holds {question} and {solution} (empty: a prompt of ours); `correct` and `incorrect` are
    the words whose first tokens are weighed. `each_step` as in `outcome`."""

    spec_name: ClassVar[str] = "judge"

    prompt: str = ""
    correct: str = "Yes"
    incorrect: str = "No"
    check_tokens: int = 0
    each_step: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.check_tokens >= 0, f"judge(check_tokens={self.check_tokens}): 0 (no written check) or more")
        for field in ("{question}", "{solution}"):
            require(not self.prompt or field in self.prompt, f"judge(prompt=...) does not hold {field}")

    def format(self) -> Format:
        """One question by the user; read where the answer begins."""
        return Format(opening=self.prompt or (CHECKED if self.check_tokens else DIRECT), turns="ask", read="end")

    def readout(self) -> ReadOut:
        """The first word against the second."""
        return ReadOut("tokens", words=(self.correct, self.incorrect), which="first")

    def last_only(self) -> bool:
        """As asked for."""
        return not self.each_step

    def scorer(self, model: ScoringModel) -> Scorer:
        """With a written check one that writes."""
        if not self.check_tokens:
            return super().scorer(model)
        from isoflop.rewards.score_check import CheckScorer

        return CheckScorer(model, self.path, VERDICT, self.check_tokens)
