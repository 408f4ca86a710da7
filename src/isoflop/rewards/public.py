"""What the specs of reward models share: where the checkpoint is, how it is run, and how one is opened.

A subclass says its name, its format and its read-out; `step_tokens.py` shows how short that is. It loads nothing until
`open`: a spec is parsed without torch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from isoflop.rewards.base import Reward, RewardContext, RewardSpec
from isoflop.rewards.encode import Encoder
from isoflop.rewards.format import Format, ReadOut
from isoflop.rewards.model_reward import ModelReward, Thinking
from isoflop.specs import require

if TYPE_CHECKING:
    from isoflop.rewards.models import ScoringModel
    from isoflop.rewards.scorer import Scorer


@dataclass(frozen=True)
class ModelRewardSpec(RewardSpec):
    """`path`: a folder or a hub id. `thinking`: whether think steps are shown to the model or skipped.

    `cached=False` encodes every text anew (the naive twin). Else keys and values are held in `memory_gb`, in slots of
    `context_tokens` tokens, the longest text (default 2048, or what the model takes if that is less).
    """

    path: str
    thinking: Thinking = field(default="include", kw_only=True)
    cached: bool = field(default=True, kw_only=True)
    context_tokens: int | None = field(default=None, kw_only=True)
    memory_gb: float = field(default=2.0, kw_only=True)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = field(default="auto", kw_only=True)
    device: str = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        tokens = self.context_tokens
        require(tokens is None or tokens >= 1, f"{self.spec_name}(context_tokens={tokens}): at least 1, or left out")
        require(self.memory_gb > 0, f"{self.spec_name}(memory_gb={self.memory_gb}): more than 0")

    @abstractmethod
    def format(self) -> Format:
        """How the model is asked."""

    @abstractmethod
    def readout(self) -> ReadOut:
        """How it is read."""

    def last_only(self) -> bool:
        """True where only complete solutions are judged."""
        return False

    def scorer(self, model: ScoringModel) -> Scorer:
        """What computes the logits."""
        if not self.cached:
            from isoflop.rewards.score_naive import NaiveScorer

            return NaiveScorer(model)
        from isoflop.rewards.score_cached import cached_scorer

        return cached_scorer(model, context_tokens=self.context_tokens, memory_gb=self.memory_gb)

    def open(self, context: RewardContext) -> Reward:
        """Load the model. Raises ModelError where it is of another kind, with the spec that fits it."""
        from isoflop.rewards.models import check_tokenizer, load_scoring_model
        from isoflop.runtime.loading import load_tokenizer

        tokenizer, readout = load_tokenizer(self.path), self.readout()
        model = load_scoring_model(
            self.path, readout, tokenizer, asked_by=self.spec_name, dtype=self.dtype, device=self.device
        )
        check_tokenizer(self.path, tokenizer, model.config)
        form = self.format()
        skip = model.config.get_text_config().pad_token_id if form.turns == "answer" and form.read == "end" else None
        encoder = Encoder(form, tokenizer, skip=skip)
        return ModelReward(encoder, readout, self.scorer(model), thinking=self.thinking, last_only=self.last_only())
