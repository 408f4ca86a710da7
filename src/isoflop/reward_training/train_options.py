"""How a reward model of its own is trained: what the user may choose, and each method's own defaults.

ModelTraining(method="lora", seeds=(0, 1), options=ModelOptions(epochs=2))

It imports nothing heavy; `train_model.py` uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from isoflop.reward_training.labels import LabelKind
from isoflop.specs import require

Method = Literal["lora", "full"]
LEARNING_RATES: dict[Method, float] = {"lora": 2e-4, "full": 1e-5}


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """`batch_solutions` make one update, over all workers; each computes `at_once` of them together. The learning rate
    (None: the method's own) rises over `warmup_share` of the updates and falls linearly to 0 at the last epoch's end.

    `patience`: epochs without a lower held-out loss before it stops. `save_every`: updates between checkpoints. `shard`
    spreads weights, gradients and the optimizer's numbers over the workers (FSDP); else each holds all (DDP).
    """

    learning_rate: float | None = None
    weight_decay: float = 0.01
    batch_solutions: int = 16
    at_once: int = 4
    epochs: int = 3
    patience: int = 1
    warmup_share: float = 0.05
    lora_rank: int = 16
    save_every: int = 100
    shard: bool = False

    def __post_init__(self) -> None:
        rate = self.learning_rate
        require(rate is None or rate > 0, f"learning_rate={rate}: more than 0")
        require(self.weight_decay >= 0, f"weight_decay={self.weight_decay}: 0 or more")
        require(0 <= self.warmup_share < 1, f"warmup_share={self.warmup_share}: from 0 to below 1")
        for name in ("batch_solutions", "at_once", "epochs", "patience", "lora_rank", "save_every"):
            require(getattr(self, name) >= 1, f"{name}={getattr(self, name)}: at least 1")


@dataclass(frozen=True, slots=True)
class ModelTraining:
    """`separator` stands behind each step, which is read there; `opening` before the first, with {question} and perhaps
    {bos}; both are recorded in what is saved. `held_out`: share of the problems."""

    method: Method = "lora"
    kind: LabelKind | None = None
    seeds: tuple[int, ...] = (0,)
    held_out: float = 0.1
    separator: str = "\n"
    opening: str = "{bos}{question}\n"
    options: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        require(len(set(self.seeds)) == len(self.seeds) > 0, f"seeds={list(self.seeds)}: at least one, each once")
        require(self.separator != "", "separator='': steps are read at their separator; it has to have one")
        require("{question}" in self.opening, f"opening={self.opening!r} does not hold {{question}}")

    @property
    def learning_rate(self) -> float:
        """The one asked for, or the method's own."""
        return self.options.learning_rate or LEARNING_RATES[self.method]
