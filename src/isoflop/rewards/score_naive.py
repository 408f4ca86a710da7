"""The naive scorer: every passage through the whole model, one at a time, nothing kept. The oracle of the cached one.

scorer = NaiveScorer(model)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from isoflop.cost.flops import Pricer
from isoflop.cost.shape import shape_from_config
from isoflop.rewards.encode import Passage
from isoflop.rewards.models import ScoringModel
from isoflop.rewards.scorer import HeadPrice, Outlook, Reading, Scorer


class NaiveScorer(Scorer):
    """Re-encodes what it is given, each time."""

    def __init__(self, model: ScoringModel) -> None:
        self.model = model
        self.context_tokens = model.context_tokens
        self.prices = prices_of(model)

    @torch.inference_mode()
    def read(self, passages: Sequence[Passage], searches: Sequence[str]) -> list[Reading]:
        """A forward for each passage."""
        return [self._one(passage) for passage in passages]

    def price(self, outlook: Outlook) -> int:
        """All of it again, each passage by itself."""
        return self.prices.from_scratch(outlook)

    def _one(self, passage: Passage) -> Reading:
        device = next(self.model.parameters()).device
        ids = torch.tensor([passage.tokens], device=device)
        hidden_ND = self.model.decoder(input_ids=ids, use_cache=False).last_hidden_state[0]
        logits_RC = self.model.read(hidden_ND[list(passage.reads)])
        computed = self.prices.cost(0, len(passage.tokens), len(passage.reads))
        cost = replace(computed, naive_flops=computed.flops)
        return Reading(tuple(map(tuple, logits_RC.tolist())), cost, cost)


def prices_of(model: ScoringModel) -> HeadPrice:
    """The formulas for a model's decoder and head."""
    dtype = next(model.decoder.parameters()).dtype
    shape = shape_from_config(model.decoder.config.to_dict()).in_dtype(str(dtype))
    return HeadPrice(Pricer(shape), model.head.flops_per_read, model.head.parameters_read * dtype.itemsize)
