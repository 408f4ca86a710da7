"""What a run of training is told: one frozen record, checked before anything is loaded.

    Training(model="DIR", data="text.jsonl", out="runs/thoughts", steps=100)

It does nothing itself: that is `loop.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.errors import SpecError, did_you_mean
from isoflop.quietstar.training.positions import parse_positions
from isoflop.quietstar.training.shorten import parse_lengths

RECIPES = ("corrected", "faithful", "distilled")
CONTROLS = ("none", "fillers", "shuffled", "mixing 0", "never")
PRECISIONS = ("no", "bf16")
OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class Training:
    """One run. `thoughts` are drawn at each position and are each other's baseline; `talk` tokens are predicted after
    each. `n_ahead` is the checkpoint's own where none is given, 8 for new thoughts. A learning rate for each group;
    `faithful` is the reference's objective, not its learning rates. `optimizer="muon"` steps the base model's matrices
    by Muon: for small models that still have much to learn.

    The first `seeded_steps` steps learn the thoughts that come with the text (`traces.py`), and so does each later step
    with the chance `seeded_share`; `filler` is the text whose first token fills a short one up.

    `base_rate` is of all the base model's weights (1e-6 if not given), or of adapters of `lora_rank` (1e-4); 0 leaves
    the base as it is. `shorten` lists the n_ahead of later, equal parts of the run. `reward_decay` is of the average
    of the model without thoughts that a thought has to beat (0: the model of the step itself). A gate is trained at
    `gate_rate` to tell where a thought saves more than `gate_nats`. `control` trains with what should not help.

    An update is `accumulate` times `batch` windows, however many workers there are; `batch` is how many of them one
    worker computes at once. With `shard` each worker holds a part of the weights (FSDP), not all of them.
    """

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
    base_rate: float | None = None
    lora_rank: int = 0
    vector_rate: float = 1e-5
    head_rate: float = 1e-4
    warmup_steps: int = 20
    precision: str = "no"
    optimizer: str = "adamw"
    save_every: int = 100
    seed: int = 0
    shorten: str = ""
    reward_decay: float = 0.0
    gate_rate: float = 0.0
    gate_nats: float = 0.0
    control: str = "none"
    shard: bool = False

    def __post_init__(self) -> None:
        choices = {"recipe": RECIPES, "precision": PRECISIONS, "optimizer": OPTIMIZERS, "control": CONTROLS}
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise SpecError(f"{name}={value!r} is unknown{did_you_mean(value, allowed)}")
        if self.recipe == "corrected" and self.thoughts < 2:
            raise SpecError(f"thoughts={self.thoughts}: a thought is compared with the others there; give at least 2")
        for name in ("steps", "talk", "length", "batch", "accumulate", "save_every", "thoughts"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name}={getattr(self, name)} must be at least 1")
        if self.seeded_steps < 0 or not 0 <= self.seeded_share <= 1:
            raise SpecError(
                f"seeded_steps={self.seeded_steps} must be at least 0, seeded_share={self.seeded_share} between 0 and 1"
            )
        if self.lora_rank < 0 or not 0 <= self.reward_decay < 1:
            raise SpecError(
                f"lora_rank={self.lora_rank} must be at least 0, reward_decay={self.reward_decay} from 0 to below 1"
            )
        if self.optimizer == "muon" and (self.lora_rank or not self.rate_of_base):
            raise SpecError(
                "optimizer='muon' steps the base model's own matrices: with lora_rank or base_rate=0 use adamw"
            )
        if self.control == "shuffled" and self.batch < 2:
            raise SpecError("control='shuffled' takes another window's thoughts: batch must be at least 2")
        self._refuse_what_does_not_meet()
        if self.shard and (self.reward_decay or self.optimizer == "muon"):
            raise SpecError(
                "shard=True cuts weights up, but reward_decay averages and optimizer='muon' steps whole ones; "
                "leave one out"
            )
        parse_positions(self.positions)
        parse_lengths(self.shorten)

    def _refuse_what_does_not_meet(self) -> None:
        given: dict[str, object] = {"reward_decay": self.reward_decay} if self.recipe != "corrected" else {}
        if self.recipe == "distilled":
            given |= {"seeded_steps": self.seeded_steps, "seeded_share": self.seeded_share, "gate_rate": self.gate_rate}
            given |= {"shorten": self.shorten, "control": self.control != "none"}
        if found := [name for name, value in given.items() if value]:
            raise SpecError(
                f"recipe={self.recipe!r} knows no {' and no '.join(found)}; leave it out, or use 'corrected'"
            )

    @property
    def rate_of_base(self) -> float:
        """The learning rate of the base model's weights, or of its adapters."""
        if self.base_rate is None:
            return 1e-4 if self.lora_rank else 1e-6
        return self.base_rate

    def seeded(self, step: int) -> bool:
        """Whether a step learns the thoughts that come with the text; it follows from the seed and the step."""
        return step < self.seeded_steps or np.random.default_rng((self.seed, 1, step)).random() < self.seeded_share
