"""Of how many each mean of a loss is: of one forward, or of a whole update that is cut into several.

    whole = sum((counts(labels_BS, anchors_BA, used_BA, talk=4) for ...), Counts())
    losses = corrected_losses(model, rollout, whole=whole)          # this forward's part: all parts add up to the mean

They follow from the text and the places to think at alone, so that they are known before anything is computed.
Legend as in `rollout.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import torch

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Counts:
    """Learnt tokens: in the `text`, s + 1 after a place to think (`ahead_K`), and those of the text right after no
    place (`elsewhere`). Places to think at: all, those with a learnt token ahead (`measured`), and those that the
    faithful recipe rewards (`earning`)."""

    text: int = 0
    elsewhere: int = 0
    ahead_K: tuple[int, ...] = ()
    places: int = 0
    measured: int = 0
    earning: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.text + other.text,
            self.elsewhere + other.elsewhere,
            tuple(one + two for one, two in zip_longest(self.ahead_K, other.ahead_K, fillvalue=0)),
            self.places + other.places,
            self.measured + other.measured,
            self.earning + other.earning,
        )


def counts(labels_BS: torch.Tensor, anchors_BA: torch.Tensor, used_BA: torch.Tensor, talk: int) -> Counts:
    """Of one forward."""
    learnt_BS, ahead_BKA = labels_BS != IGNORED, labels_ahead(labels_BS, anchors_BA, used_BA, talk) != IGNORED
    return Counts(
        int(learnt_BS.sum()),
        int(elsewhere(labels_BS, anchors_BA, ahead_BKA[:, 0]).sum()),
        tuple(ahead_BKA.sum((0, 2)).tolist()),
        int(used_BA.sum()),
        int(ahead_BKA.any(1).sum()),
        int(earning(labels_BS, anchors_BA, used_BA, talk).sum()),
    )


def ahead(values_BS: torch.Tensor, anchors_BA: torch.Tensor, talk: int) -> torch.Tensor:
    """[B, S, ...] values at the anchor and the K - 1 positions after it, [B, K, A, ...]; past the end they wrap."""
    steps_K = torch.arange(talk, device=values_BS.device)
    at_BKA = (anchors_BA[:, None] + steps_K[:, None]) % values_BS.shape[1]
    return values_BS[torch.arange(len(values_BS), device=values_BS.device)[:, None, None], at_BKA]


def labels_ahead(labels_BS: torch.Tensor, anchors_BA: torch.Tensor, used_BA: torch.Tensor, talk: int) -> torch.Tensor:
    """The token s + 1 after each anchor [B, K, A]; IGNORED past the end, at padding and where an anchor is not used."""
    steps_K = torch.arange(talk, device=labels_BS.device)
    past_the_end_BKA = anchors_BA[:, None] + steps_K[:, None] >= labels_BS.shape[1]
    return ahead(labels_BS, anchors_BA, talk).masked_fill(past_the_end_BKA | ~used_BA[:, None], IGNORED)


def earning(labels_BS: torch.Tensor, anchors_BA: torch.Tensor, used_BA: torch.Tensor, talk: int) -> torch.Tensor:
    """Anchors [B, A] that the reference rewards: it wants all K tokens after them, and by accident one more."""
    return used_BA & (anchors_BA <= labels_BS.shape[1] - 2 - talk)


def elsewhere(labels_BS: torch.Tensor, anchors_BA: torch.Tensor, there_BA: torch.Tensor) -> torch.Tensor:
    """Learnt positions [B, S] that are none of the anchors marked in `there_BA`."""
    return (labels_BS != IGNORED) & (labels_BS * 0).scatter_add(1, anchors_BA, there_BA.long()).eq(0)
