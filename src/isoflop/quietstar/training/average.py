"""What a thought has to beat, steadily: a running average of the model, which predicts the text without thoughts.

    average = PlainAverage(model.base, decay=0.999)
    alone_BS = average.losses(model, ids_BS, real_BS, labels_BS)
    average.follow(model.base)                                      # after each update

The reward of a thought is then its gain in log-likelihood over a model that lags behind, the dense reward of
Hatamizadeh et al. 2025 (RLP, arXiv 2510.01265): the model earns nothing by predicting worse without thoughts. Weights
that are not trained are not copied. Legend as in `rollout.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from isoflop.quietstar.branches import Branches
from isoflop.quietstar.loss import token_losses
from isoflop.quietstar.model import ThoughtModel


class PlainAverage:
    """An average of the trained weights of a base model, by name."""

    def __init__(self, base: Any, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in _trained(base)}

    @torch.no_grad()
    def follow(self, base: Any) -> None:
        """One step towards the model as it is now."""
        for name, value in _trained(base):
            self.weights[name].lerp_(value, 1 - self.decay)

    @torch.no_grad()
    def losses(
        self, model: ThoughtModel, ids_BS: torch.Tensor, real_BS: torch.Tensor, labels_BS: torch.Tensor
    ) -> torch.Tensor:
        """Nats [B, S] of the labels without thoughts, under the average."""
        with self._put_into(model.base):
            embedded_BSH = model.embed(ids_BS)
            visible_BSH, _ = model.run(Branches(real_BS.bool()), embedded_BSH, embedded_BSH[:, :0, None])
            return token_losses(model, visible_BSH, labels_BS)

    @contextmanager
    def _put_into(self, base: Any) -> Iterator[None]:
        """Exchange values, not parameters: optimiser and wrappers keep what they hold."""
        own = {name: value.data for name, value in _trained(base)}
        for name, value in _trained(base):
            value.data = self.weights[name]
        try:
            yield
        finally:
            for name, value in _trained(base):
                value.data = own[name]


def _trained(base: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, value) for name, value in base.named_parameters() if value.requires_grad]
