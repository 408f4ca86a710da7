"""One forward of a training step: thoughts drawn at the places to think at, or those that come with the text.

    step = TrainingStep(model, settings, filler=7)
    outcome = step(batch, seeded=False, whole=step.counts(batch, seeded=False))
    outcome.total, outcome.figures

It takes no gradient and moves no weight: that is `loop.py`. Where an update is cut into several forwards, `whole` is
the sum of their counts, and an outcome is its forward's part. What is drawn for a window follows from its number.
Legend as in `rollout.py`, and W vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from isoflop.quietstar.counts import IGNORED, Counts, counts
from isoflop.quietstar.loss import Losses, corrected_losses, faithful_losses, likelihood_losses, seeded_losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import Rollout, draw_and_roll_out, next_labels, roll_out
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.controls import learn_plainly, of_the_next
from isoflop.quietstar.training.data import Batch
from isoflop.quietstar.training.distil import distilled_losses
from isoflop.quietstar.training.gate import gate_loss
from isoflop.quietstar.training.positions import parse_positions
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.traces import packed


class Outcome(NamedTuple):
    """What is minimised, what is logged, and what was thought. A tuple: torch looks into one for what has gradients."""

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

    def counts(self, batch: Batch, seeded: bool) -> Counts:
        """Of how many tokens and places a forward on this batch is."""
        labels_BS = _labels(batch)
        if self.settings.control == "never":
            return counts(labels_BS, labels_BS[:, :0], labels_BS[:, :0].bool(), talk=1)
        return counts(labels_BS, *self._places(batch, seeded), self.settings.talk)

    def forward(self, batch: Batch, seeded: bool, whole: Counts) -> Outcome:
        """Think about a batch and score it."""
        if self.settings.control != "none":
            rollout = _learnt(self._control(batch, seeded), batch)
            mixing = 0.0 if self.settings.control == "mixing 0" else None
            return self._outcome(whole, likelihood_losses(self.model, rollout, mixing=mixing, whole=whole), rollout)
        if seeded:
            rollout = _learnt(self._seeded(batch), batch)
            return self._outcome(whole, seeded_losses(self.model, rollout, whole), rollout)
        alone_BS = self._alone(batch)
        rollout = _learnt(draw_thoughts(self.model, self.settings, batch), batch)
        if self.settings.recipe == "faithful":
            return self._outcome(whole, faithful_losses(self.model, rollout, whole), rollout)
        return self._outcome(whole, corrected_losses(self.model, rollout, alone_BS=alone_BS, whole=whole), rollout)

    def _outcome(self, whole: Counts, losses: Losses, rollout: Rollout) -> Outcome:
        total, figures = losses.total, figures_of(losses, rollout, whole)
        if self.settings.gate_rate:
            gate, more = gate_loss(self.model, rollout, losses, self.settings.gate_nats)
            total, figures = total + gate, {**figures, **more}
        # What no thought has used gets a gradient of 0: workers exchange those of every parameter.
        unused = sum(value.sum() for value in self.model.thought_parameters.parameters() if value.requires_grad)
        return Outcome(total + 0 * unused, figures, losses, rollout)

    def _places(self, batch: Batch, seeded: bool) -> tuple[torch.Tensor, torch.Tensor]:
        positions = "traces" if seeded else self.settings.positions
        return anchors_of(batch, positions, place_randoms(self.settings.seed, batch))

    def _alone(self, batch: Batch) -> torch.Tensor | None:
        """What the average of the model without thoughts loses; None where the step's own model is the measure."""
        if self.average is None:
            return None
        ids_BS, real_BS = (part.to(self.model.device) for part in (batch.ids_BS, batch.real_BS))
        return self.average.losses(self.model, ids_BS, real_BS, _labels(batch).to(self.model.device))

    def _seeded(self, batch: Batch) -> Rollout:
        anchors_BA, used_BA = self._places(batch, seeded=True)
        thoughts_B1AN, _ = packed(batch.traces, anchors_BA.shape[1], self.model.config.sampled_tokens, self.filler)
        return self._given(batch, thoughts_B1AN, anchors_BA, used_BA)

    def _control(self, batch: Batch, seeded: bool) -> Rollout:
        """Thoughts that should not help, at the places of the step that they stand in for."""
        if self.settings.control == "never":
            return learn_plainly(self.model, batch)
        with torch.no_grad():
            own = self._seeded(batch) if seeded else draw_thoughts(self.model, self.settings, batch)
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

    def counts(self, batch: Batch, seeded: bool) -> Counts:
        """Of how many tokens and places a forward on this batch is; `seeded` is always False here."""
        places = anchors_of(batch, self.settings.positions, place_randoms(self.settings.seed, batch))
        return counts(_labels(batch), *places, talk=1)

    def forward(self, batch: Batch, seeded: bool, whole: Counts) -> Outcome:
        """Let the teacher think about a batch, and the student expect it without."""
        with torch.no_grad():
            taught = _learnt(draw_thoughts(self._teacher[0], replace(self.settings, talk=1), batch), batch)
        visible_BSH = learn_plainly(self.model, batch).visible_BSH
        losses = distilled_losses(self.model, visible_BSH, taught, self._teacher[0], whole)
        figures = {**figures_of(losses, taught, whole), "divergence": losses.policy.item()}
        return Outcome(losses.total, figures, losses, taught)


def figures_of(losses: Losses, rollout: Rollout, whole: Counts) -> dict[str, float]:
    """What is logged of every step, or this forward's part of it. `nats_without` and `nats_with` are of the same
    tokens, those right after the places to think at; `nats_text` is of all."""
    weight = (losses.weight_BKPA[:, 0] * rollout.used_BA[:, None]).sum()
    return {
        "loss": losses.total.item(),
        "nats_text": losses.base.item(),
        "nats_without": losses.base_there.item(),
        "nats_with": losses.talk_K[0].item(),
        "reward": losses.reward_mean.item(),
        "thought_nats": losses.thought_nats.item(),
        "weight": weight.item() / (whole.places * losses.weight_BKPA.shape[2] or float("nan")),
    }


def draw_thoughts(model: ThoughtModel, settings: Training, batch: Batch) -> Rollout:
    """The model's own thoughts; what is drawn for a window follows from the seed and the window's number."""
    anchors_BA, used_BA = anchors_of(batch, settings.positions, place_randoms(settings.seed, batch))
    seeds = [np.random.default_rng((settings.seed, 2, number)).integers(2**62) for number in batch.numbers]
    generators = [torch.Generator(model.device).manual_seed(int(seed)) for seed in seeds]
    return draw_and_roll_out(
        model,
        batch.ids_BS.to(model.device),
        batch.real_BS.to(model.device),
        lambda _, logits_BCW: drawn(logits_BCW, generators),
        thoughts=settings.thoughts,
        talk=settings.talk,
        anchors_BA=anchors_BA.to(model.device),
        used_BA=used_BA.to(model.device),
    )


def place_randoms(seed: int, batch: Batch) -> list[np.random.Generator]:
    """What each window's places to think at are drawn with."""
    return [np.random.default_rng((seed, 3, number)) for number in batch.numbers]


def anchors_of(
    batch: Batch, positions: str, randoms: Sequence[np.random.Generator]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a batch thinks [B, A], and which of these places count."""
    traces = [[trace.place for trace in row] for row in batch.traces]
    return parse_positions(positions).anchors(batch.texts, batch.real_BS, randoms, traces)


def _labels(batch: Batch) -> torch.Tensor:
    return _only_learnt(next_labels(batch.ids_BS, batch.real_BS), batch)


def _learnt(rollout: Rollout, batch: Batch) -> Rollout:
    """Without labels for tokens that are given; the position before the first learnt one predicts it."""
    return replace(rollout, labels_BS=_only_learnt(rollout.labels_BS, batch))


def _only_learnt(labels_BS: torch.Tensor, batch: Batch) -> torch.Tensor:
    learnt_BS = batch.learnt_BS.roll(-1, 1).bool().to(labels_BS.device)
    return labels_BS.masked_fill(~learnt_BS, IGNORED)


def drawn(logits_BCW: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """A token [B, C] for each, from the softmax at temperature 1; each generator draws for as many texts."""
    parts = logits_BCW.float().softmax(-1).flatten(0, 1).chunk(len(generators))
    tokens = [torch.multinomial(part, 1, generator=own) for part, own in zip(parts, generators, strict=True)]
    return torch.cat(tokens).view(logits_BCW.shape[:-1])
