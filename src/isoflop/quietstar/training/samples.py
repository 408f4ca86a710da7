"""Thoughts to look at: some places of a step, each with what stood before, what was thought and what that saved.

    for sample in samples_of(batch, outcome.losses, outcome.rollout, tokenizer, count=3, seed=step): print(sample)

Chosen by chance and not by what they saved: a list of the best shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoflop.quietstar.loss import Losses
from isoflop.quietstar.rollout import Rollout
from isoflop.quietstar.training.data import Batch

SHOWN_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """One place: text before it, the thought, the token that really follows, how much the thought counted there, and
    the nats that it saved over the tokens after it."""

    before: str
    thought: str
    following: str
    weight: float
    saved_nats: float

    def __str__(self) -> str:
        return (
            f"{self.before!r} [{self.thought!r}] {self.following!r}  weight {self.weight:+.3f}, "
            f"saved {self.saved_nats:+.3f} nats"
        )


def samples_of(
    batch: Batch, losses: Losses, rollout: Rollout, tokenizer: Any, *, count: int, seed: int
) -> Sequence[Sample]:
    """The first thought of up to `count` places that were measured."""
    measured = (~losses.reward_BPA[:, 0].isnan()).nonzero().tolist()
    chosen = np.random.default_rng(seed).permutation(len(measured))[:count]
    found = []
    for row, anchor in (measured[number] for number in sorted(chosen.tolist())):
        place, texts = int(rollout.anchors_BA[row, anchor]), batch.texts[row]
        found.append(
            Sample(
                "".join(texts[max(0, place + 1 - SHOWN_TOKENS) : place + 1]),
                tokenizer.decode(rollout.thoughts_BPAN[row, 0, anchor].tolist()),
                texts[place + 1],
                float(losses.weight_BKPA[row, 0, 0, anchor]),
                float(losses.reward_BPA[row, 0, anchor]),
            )
        )
    return found
