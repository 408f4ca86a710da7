"""What a run of training is told: one frozen record, checked before anything is loaded.

    Training(model="DIR", data="text.jsonl", out="runs/thoughts", steps=100)

It does nothing itself: that is `loop.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.errors import SpecError, did_you_mean
from isoflop.quietstar.training.positions import parse_positions

RECIPES = ("corrected", "faithful")
PRECISIONS = ("no", "bf16")
OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class Training:
    """One run. `thoughts` are drawn at each position and are each other's baseline; `talk` tokens are predicted after
    each. `n_ahead` is the checkpoint's own where none is given, 8 for new thoughts. A learning rate for each group;
    `faithful` is the reference's objective, not its learning rates. `optimizer="muon"` steps the base model's matrices
    by Muon: for small models that still have much to learn.

    The first `seeded_steps` steps learn the thoughts that come with the text (`traces.py`), and so does each later step
    with the chance `seeded_share`; `filler` is the text whose first token fills a short one up."""

    model: str
    data: str
    out: str
    steps: int = 100
    recipe: str = "corrected"
    n_ahead: int | None = None
    talk: int = 4
    thoughts: int = 2
    positions: str = "all"
    seeded_steps: int = 0
    seeded_share: float = 0.0
    filler: str = "---"
    length: int = 256
    batch: int = 4
    accumulate: int = 1
    base_rate: float = 1e-6
    vector_rate: float = 1e-5
    head_rate: float = 1e-4
    warmup_steps: int = 20
    precision: str = "no"
    optimizer: str = "adamw"
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise SpecError(f"recipe={self.recipe!r} is unknown{did_you_mean(self.recipe, RECIPES)}")
        if self.precision not in PRECISIONS:
            raise SpecError(f"precision={self.precision!r} is unknown{did_you_mean(self.precision, PRECISIONS)}")
        if self.optimizer not in OPTIMIZERS:
            raise SpecError(f"optimizer={self.optimizer!r} is unknown{did_you_mean(self.optimizer, OPTIMIZERS)}")
        if self.recipe == "corrected" and self.thoughts < 2:
            raise SpecError(f"thoughts={self.thoughts}: a thought is compared with the others there; give at least 2")
        for name in ("steps", "talk", "length", "batch", "accumulate", "save_every", "thoughts"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name}={getattr(self, name)} must be at least 1")
        if self.seeded_steps < 0 or not 0 <= self.seeded_share <= 1:
            raise SpecError(
                f"seeded_steps={self.seeded_steps} must be at least 0, seeded_share={self.seeded_share} between 0 and 1"
            )
        parse_positions(self.positions)

    def seeded(self, step: int) -> bool:
        """Whether a step learns the thoughts that come with the text; it follows from the seed and the step."""
        return step < self.seeded_steps or np.random.default_rng((self.seed, 1, step)).random() < self.seeded_share
