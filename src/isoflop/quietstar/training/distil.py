"""Thoughts distilled into a model without them: it learns to expect what the thinking model expects after a thought.

    losses = distilled_losses(student, visible_BSH, taught, teacher, taught.counts)

The teacher is the checkpoint as it was, thoughts and all; the student its base model. At the places to think at the
loss is the divergence KL(teacher || student), the teacher's distribution being the mean over its thoughts; everywhere
else the same from what the teacher expects without a thought, half of each: nothing is learnt but not having to think.
What is saved is an ordinary model. The aim is that of the last stage of Huang et al. 2025 (Fast Quiet-STaR, arXiv
2505.17746); their published reward is unrelated to the token that it is given for.

Legend as in `rollout.py`, and W vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from isoflop.quietstar.counts import IGNORED, Counts, elsewhere
from isoflop.quietstar.loss import Losses, likelihood_losses, token_losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import Rollout


def distilled_losses(
    student: ThoughtModel, visible_BSH: torch.Tensor, taught: Rollout, teacher: ThoughtModel, whole: Counts
) -> Losses:
    """`visible_BSH` are the student's states of the text that `taught` is the teacher's rollout of. The figures are
    the teacher's, but for `base` and `base_there`, which are the student's; `policy` holds the divergence where the
    teacher thought, in nats."""
    with torch.no_grad():
        figures = likelihood_losses(teacher, taught, whole=whole)
        expected_BAW, plain_BSW = _expected(teacher, taught), teacher.logits(taught.visible_BSH).log_softmax(-1)
    there_BA = taught.talk_labels_BKA[:, 0] != IGNORED
    elsewhere_BS = elsewhere(taught.labels_BS, taught.anchors_BA, there_BA)
    own_BSW = student.logits(visible_BSH).log_softmax(-1)
    there = _divergence(expected_BAW, taught.ahead(own_BSW)[:, 0], there_BA) / max(1, whole.ahead_K[0])
    total = 0.5 * there + 0.5 * _divergence(plain_BSW, own_BSW, elsewhere_BS) / max(1, whole.elsewhere)
    with torch.no_grad():
        own_BS = token_losses(student, visible_BSH, taught.labels_BS)
        base = own_BS.sum() / max(1, whole.text)
        own_there = (taught.ahead(own_BS)[:, 0] * there_BA).sum() / max(1, whole.ahead_K[0])
    return replace(figures, total=total, policy=there, base=base, base_there=own_there)


def _divergence(expected: torch.Tensor, own: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The sum of KL(expected || own), log-probabilities [..., W], over what counts [...]."""
    return ((expected.exp() * (expected - own)).sum(-1) * counts).sum()


def _expected(teacher: ThoughtModel, taught: Rollout) -> torch.Tensor:
    """Log-probabilities [B, A, W] of the token after each place: the mean of the distributions after its thoughts."""
    base_BPAH = taught.ahead(taught.visible_BSH)[:, :1].expand(-1, taught.talk_BKPAH.shape[2], -1, -1)
    mixed_BPAH, _ = teacher.thought_parameters.mix(base_BPAH, taught.talk_BKPAH[:, 0])
    log_share_BPAW = teacher.logits(mixed_BPAH).log_softmax(-1)
    return log_share_BPAW.logsumexp(1) - math.log(log_share_BPAW.shape[1])
