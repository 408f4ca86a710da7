"""One forward of a training step: thoughts drawn at the places to think at, or those that come with the text.

    outcome = TrainingStep(model, settings, filler=7)(batch, micro=0, seeded=False)
    outcome.total, outcome.figures

It takes no gradient and moves no weight: that is `loop.py`. Legend as in `rollout.py`, and W vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from isoflop.quietstar.loss import Losses, corrected_losses, faithful_losses, likelihood_losses, seeded_losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import IGNORED, Rollout, draw_and_roll_out, next_labels, roll_out
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.controls import learn_plainly, of_the_next
from isoflop.quietstar.training.data import Batch
from isoflop.quietstar.training.distil import distilled_losses
from isoflop.quietstar.training.gate import gate_loss
from isoflop.quietstar.training.positions import parse_positions
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.traces import packed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is minimised, what is logged, and what was thought."""

    total: torch.Tensor
    figures: Mapping[str, float]
    losses: Losses
    rollout: Rollout


class TrainingStep(nn.Module):
    """As accelerate wants it: a module whose forward gives the losses. `filler` fills up short thoughts."""

    def __init__(
        self, model: ThoughtModel, settings: Training, filler: int, average: PlainAverage | None = None
    ) -> None:
        super().__init__()
        self.model, self.settings, self.filler, self.average = model, settings, filler, average

    def forward(self, batch: Batch, micro: int, seeded: bool) -> Outcome:
        """Think about a batch and score it; `micro` counts batches from the start of the run."""
        if self.settings.control != "none":
            rollout = _learnt(self._control(batch, micro, seeded), batch)
            mixing = 0.0 if self.settings.control == "mixing 0" else None
            return self._outcome(likelihood_losses(self.model, rollout, mixing=mixing), rollout)
        if seeded:
            rollout = _learnt(self._seeded(batch), batch)
            return self._outcome(seeded_losses(self.model, rollout), rollout)
        alone_BS = self._alone(batch)
        rollout = _learnt(draw_thoughts(self.model, self.settings, batch, micro), batch)
        if self.settings.recipe == "faithful":
            return self._outcome(faithful_losses(self.model, rollout), rollout)
        return self._outcome(corrected_losses(self.model, rollout, alone_BS=alone_BS), rollout)

    def _outcome(self, losses: Losses, rollout: Rollout) -> Outcome:
        if not self.settings.gate_rate:
            return Outcome(losses.total, figures_of(losses), losses, rollout)
        gate, figures = gate_loss(self.model, rollout, losses.reward_BPA, self.settings.gate_nats)
        return Outcome(losses.total + gate, {**figures_of(losses), **figures}, losses, rollout)

    def _alone(self, batch: Batch) -> torch.Tensor | None:
        """What the average of the model without thoughts loses; None where the step's own model is the measure."""
        if self.average is None:
            return None
        ids_BS, real_BS = (part.to(self.model.device) for part in (batch.ids_BS, batch.real_BS))
        labels_BS = _only_learnt(next_labels(ids_BS, real_BS), batch)
        return self.average.losses(self.model, ids_BS, real_BS, labels_BS)

    def _seeded(self, batch: Batch) -> Rollout:
        anchors_BA, used_BA = anchors_of(batch, "traces", ())
        thoughts_B1AN, _ = packed(batch.traces, anchors_BA.shape[1], self.model.config.sampled_tokens, self.filler)
        return self._given(batch, thoughts_B1AN, anchors_BA, used_BA)

    def _control(self, batch: Batch, micro: int, seeded: bool) -> Rollout:
        """Thoughts that should not help, at the places of the step that they stand in for."""
        if self.settings.control == "never":
            return learn_plainly(self.model, batch)
        with torch.no_grad():
            own = self._seeded(batch) if seeded else draw_thoughts(self.model, self.settings, batch, micro)
        given = own.thoughts_BPAN
        if self.settings.control == "fillers":
            given = torch.full_like(given, self.filler)
        elif self.settings.control == "shuffled":
            given = of_the_next(own)
        return self._given(batch, given, own.anchors_BA, own.used_BA)

    def _given(
        self, batch: Batch, thoughts_BPAN: torch.Tensor, anchors_BA: torch.Tensor, used_BA: torch.Tensor
    ) -> Rollout:
        given = (part.to(self.model.device) for part in (batch.ids_BS, batch.real_BS, thoughts_BPAN))
        anchors_BA, used_BA = anchors_BA.to(self.model.device), used_BA.to(self.model.device)
        return roll_out(self.model, *given, talk=self.settings.talk, anchors_BA=anchors_BA, used_BA=used_BA)


class Distilling(nn.Module):
    """The same for a student without thoughts, whose teacher is the model as it was. The teacher is no part of what is
    trained or saved."""

    def __init__(self, model: ThoughtModel, settings: Training, teacher: ThoughtModel) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self._teacher = [teacher]  # in a list: torch would count its weights as ours

    def forward(self, batch: Batch, micro: int, seeded: bool) -> Outcome:
        """`seeded` is always False here."""
        with torch.no_grad():
            taught = _learnt(draw_thoughts(self._teacher[0], replace(self.settings, talk=1), batch, micro), batch)
        visible_BSH = learn_plainly(self.model, batch).visible_BSH
        losses = distilled_losses(self.model, visible_BSH, taught, self._teacher[0])
        return Outcome(losses.total, {**figures_of(losses), "divergence": losses.policy.item()}, losses, taught)


def figures_of(losses: Losses) -> dict[str, float]:
    """What is logged of every step. `nats_without` and `nats_with` are of the same tokens, those right after the places
    to think at; `nats_text` is of all."""
    return {
        "loss": losses.total.item(),
        "nats_text": losses.base.item(),
        "nats_without": losses.base_there.item(),
        "nats_with": losses.talk_K[0].item(),
        "reward": losses.reward_mean.item(),
        "thought_nats": losses.thought_nats.item(),
        "weight": losses.weight_BKPA[:, 0].mean().item(),
    }


def draw_thoughts(model: ThoughtModel, settings: Training, batch: Batch, micro: int) -> Rollout:
    """The model's own thoughts; what is drawn follows from the seed and the batch's number."""
    anchors_BA, used_BA = anchors_of(batch, settings.positions, (settings.seed, micro))
    generator = torch.Generator(model.device).manual_seed(settings.seed * 1_000_003 + micro)
    return draw_and_roll_out(
        model,
        batch.ids_BS.to(model.device),
        batch.real_BS.to(model.device),
        lambda _, logits_BCW: drawn(logits_BCW, generator),
        thoughts=settings.thoughts,
        talk=settings.talk,
        anchors_BA=anchors_BA.to(model.device),
        used_BA=used_BA.to(model.device),
    )


def anchors_of(batch: Batch, positions: str, seed: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a batch thinks [B, A], and which of these places count."""
    traces = [[trace.place for trace in row] for row in batch.traces]
    return parse_positions(positions).anchors(batch.texts, batch.real_BS, seed, traces)


def _learnt(rollout: Rollout, batch: Batch) -> Rollout:
    """Without labels for tokens that are given; the position before the first learnt one predicts it."""
    return replace(rollout, labels_BS=_only_learnt(rollout.labels_BS, batch))


def _only_learnt(labels_BS: torch.Tensor, batch: Batch) -> torch.Tensor:
    learnt_BS = batch.learnt_BS.roll(-1, 1).bool().to(labels_BS.device)
    return labels_BS.masked_fill(~learnt_BS, IGNORED)


def drawn(logits_BCW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A token [B, C] for each, from the softmax at temperature 1."""
    shares = logits_BCW.float().softmax(-1)
    return torch.multinomial(shares.flatten(0, 1), 1, generator=generator).view(logits_BCW.shape[:-1])
