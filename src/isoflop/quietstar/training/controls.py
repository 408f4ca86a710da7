"""Thoughts that should not help, to train and to judge with: another text's thoughts, or none at all.

    given_BPAN = of_the_next(rollout)               # at each place a thought of the next text of the batch
    rollout = learn_plainly(model, batch)           # no place thinks

(Fillers are one repeated token, and a mixing weight of 0 is an argument of the losses.) Legend as in `rollout.py`.
"""

from __future__ import annotations

import torch

from isoflop.quietstar.branches import Branches
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import Rollout, next_labels
from isoflop.quietstar.training.data import Batch


def of_the_next(rollout: Rollout) -> torch.Tensor:
    """At each anchor a thought of the next text, one that was really thought where it has any."""
    thoughts_BPAN, used_BA = rollout.thoughts_BPAN.roll(-1, 0), rollout.used_BA.roll(-1, 0)
    anchors = torch.arange(used_BA.shape[1], device=used_BA.device)
    source_BA = anchors % used_BA.sum(1, keepdim=True).clamp(min=1)
    return thoughts_BPAN.gather(2, source_BA[:, None, :, None].expand_as(thoughts_BPAN))


def learn_plainly(model: ThoughtModel, batch: Batch) -> Rollout:
    """The visible tokens alone: a rollout with no anchors, whose losses are those of the text."""
    ids_BS, real_BS = batch.ids_BS.to(model.device), batch.real_BS.to(model.device)
    embedded_BSH = model.embed(ids_BS)
    visible_BSH, _ = model.run(Branches(real_BS.bool()), embedded_BSH, embedded_BSH[:, :0, None])
    size, _, hidden = embedded_BSH.shape
    none_BA = ids_BS[:, :0]
    return Rollout(
        visible_BSH,
        embedded_BSH.new_zeros(size, model.config.inputs, 1, 0, hidden),
        embedded_BSH.new_zeros(size, 1, 1, 0, hidden),
        none_BA,
        none_BA.bool(),
        ids_BS.new_zeros(size, 1, 0, model.config.sampled_tokens),
        next_labels(ids_BS, real_BS),
    )
