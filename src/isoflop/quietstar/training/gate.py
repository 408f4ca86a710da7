"""A gate that learns where thinking pays: from the plain state before a thought, whether the thought saved enough.

    loss, figures = gate_loss(model, rollout, losses, nats=0.05)

Binary cross-entropy on 1[mean nats saved by the place's thoughts > nats]. It is trained on what was measured and moves
nothing but itself. An engine with `think="gate(t, by='head')"` thinks where it is above t. After Fu et al.
2025 (Think at Hard, arXiv 2511.08577). Legend as in `rollout.py`.
"""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from isoflop.quietstar.loss import Losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import Rollout


def gate_loss(
    model: ThoughtModel, rollout: Rollout, losses: Losses, nats: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """The mean loss over places whose thoughts were measured; how many of them paid, how many the gate opens for, and
    how often it is right. Rewards are NaN where nothing was measured."""
    gate = model.thought_parameters.add_gate()
    gain_BA, places = losses.reward_BPA.mean(1), max(1, losses.rewarded)
    counts_BA = ~gain_BA.isnan()
    logit_BA = gate.log_odds(rollout.ahead(rollout.visible_BSH.detach())[:, 0])
    paid_BA = (gain_BA > nats).float()
    losses_BA = binary_cross_entropy_with_logits(logit_BA, paid_BA, reduction="none") * counts_BA
    open_BA = (logit_BA > 0).float()
    figures = {
        "gate_nats": losses_BA.sum() / places,
        "gate_paid": (paid_BA * counts_BA).sum() / places,
        "gate_open": (open_BA * counts_BA).sum() / places,
        "gate_right": ((open_BA == paid_BA) * counts_BA).sum() / places,
    }
    return figures["gate_nats"], {name: value.item() for name, value in figures.items()}
