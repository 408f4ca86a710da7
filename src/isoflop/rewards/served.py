"""A reward model on a server, asked as its authors ask it: `served(url, model, reward=qwen_prm('path'))`.

The inner spec says the format, the read-out, and by its path the tokenizer and the shape (no weights are loaded here).
Heads are read through vLLM's `/pooling` (a value or classes at every token) or, where a whole text is judged, its
`/classify`; models that say `+` or `-` by one constrained token with log-probabilities (`score_served.py`).

    specs.parse("reward", "served('http://127.0.0.1:8001', 'prm', qwen_prm('Qwen/Qwen2.5-Math-PRM-7B'))")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from isoflop.errors import SpecError
from isoflop.http.address import KEY_VARIABLE, Address
from isoflop.rewards.base import Reward, RewardContext, RewardSpec
from isoflop.rewards.public import ModelRewardSpec


@dataclass(frozen=True)
class Served(RewardSpec):
    """`url`, `max_live`, `timeout_seconds`, `patience_seconds` and `key_variable` as of the engine `remote`; `model` is
    the name that the server gives it; `reward` a reward model's spec, such as `qwen_prm('path')`."""

    spec_name: ClassVar[str] = "served"

    url: str
    model: str
    reward: RewardSpec = field(metadata={"family": "reward"})
    max_live: int = 64
    timeout_seconds: float = 600.0
    patience_seconds: float = 120.0
    key_variable: str = KEY_VARIABLE

    def __post_init__(self) -> None:
        _ = self.address
        if not isinstance(self.reward, ModelRewardSpec) or getattr(self.reward, "check_tokens", False):
            raise SpecError(
                f"served(reward={self.reward}): a reward model that one forward reads, such as qwen_prm, token_prm, "
                "skywork, outcome, math_shepherd, rlhflow, or judge without check_tokens"
            )

    @property
    def address(self) -> Address:
        """Where the server is, and how patiently it is asked."""
        return Address(self.url, self.key_variable, self.max_live, self.timeout_seconds, self.patience_seconds)

    def open(self, context: RewardContext) -> Reward:
        """Load the tokenizer and ask the server once. ModelError or EngineError where it serves something else."""
        from isoflop.rewards.score_served import open_served

        assert isinstance(self.reward, ModelRewardSpec)
        return open_served(self, self.reward)
