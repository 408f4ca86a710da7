"""One forward of a training step: thoughts drawn at the places to think at, or those that come with the text.

    losses = TrainingStep(model, settings, filler=7)(batch, micro=0, seeded=False)

It takes no gradient and moves no weight: that is `loop.py`. Legend as in `rollout.py`, and W vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from isoflop.quietstar.loss import Losses, corrected_losses, faithful_losses, seeded_losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import IGNORED, Rollout, draw_and_roll_out, roll_out
from isoflop.quietstar.training.data import Batch
from isoflop.quietstar.training.positions import parse_positions
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.traces import packed


class TrainingStep(nn.Module):
    """As accelerate wants it: a module whose forward gives the losses. `filler` fills up short thoughts."""

    def __init__(self, model: ThoughtModel, settings: Training, filler: int) -> None:
        super().__init__()
        self.model, self.settings, self.filler = model, settings, filler

    def forward(self, batch: Batch, micro: int, seeded: bool) -> tuple[Losses, Rollout]:
        """Think about a batch and score it; `micro` counts batches from the start of the run."""
        rollout = _learnt(self._seeded(batch) if seeded else self._drawn(batch, micro), batch)
        if seeded:
            return seeded_losses(self.model, rollout), rollout
        objective = corrected_losses if self.settings.recipe == "corrected" else faithful_losses
        return objective(self.model, rollout), rollout

    def _drawn(self, batch: Batch, micro: int) -> Rollout:
        settings, device = self.settings, self.model.device
        anchors_BA, used_BA = anchors_of(batch, settings.positions, (settings.seed, micro))
        generator = torch.Generator(device).manual_seed(settings.seed * 1_000_003 + micro)
        return draw_and_roll_out(
            self.model,
            batch.ids_BS.to(device),
            batch.real_BS.to(device),
            lambda _, logits_BCW: drawn(logits_BCW, generator),
            thoughts=settings.thoughts,
            talk=settings.talk,
            anchors_BA=anchors_BA.to(device),
            used_BA=used_BA.to(device),
        )

    def _seeded(self, batch: Batch) -> Rollout:
        device = self.model.device
        anchors_BA, used_BA = anchors_of(batch, "traces", ())
        thoughts_B1AN, _ = packed(batch.traces, anchors_BA.shape[1], self.model.config.sampled_tokens, self.filler)
        return roll_out(
            self.model,
            batch.ids_BS.to(device),
            batch.real_BS.to(device),
            thoughts_B1AN.to(device),
            talk=self.settings.talk,
            anchors_BA=anchors_BA.to(device),
            used_BA=used_BA.to(device),
        )


def anchors_of(batch: Batch, positions: str, seed: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a batch thinks [B, A], and which of these places count."""
    traces = [[trace.place for trace in row] for row in batch.traces]
    return parse_positions(positions).anchors(batch.texts, batch.real_BS, seed, traces)


def _learnt(rollout: Rollout, batch: Batch) -> Rollout:
    """Without labels for tokens that are given; the position before the first learnt one predicts it."""
    learnt_BS = batch.learnt_BS.roll(-1, 1).bool().to(rollout.labels_BS.device)
    return replace(rollout, labels_BS=rollout.labels_BS.masked_fill(~learnt_BS, IGNORED))


def drawn(logits_BCW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A token [B, C] for each, from the softmax at temperature 1."""
    shares = logits_BCW.float().softmax(-1)
    return torch.multinomial(shares.flatten(0, 1), 1, generator=generator).view(logits_BCW.shape[:-1])
