"""Muon for matrices and AdamW for everything else, as one optimiser of torch.

    optimizer = MuonAdamW(groups_of(model.named_parameters(), rate=3e-3))

Muon steps a matrix by its momentum made orthogonal; at the sizes of the laboratory it needs a fraction of AdamW's steps
(`dev/LOG.md`). Embeddings, norms and vectors are no maps from one hidden state to another, and stay with AdamW.
Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; its learning rates are scaled to be AdamW's (Liu et al.
2025, arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch


class MuonAdamW(torch.optim.Optimizer):
    """Groups with `"muon": True` hold matrices alone."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, weight_decay: float = 0.01) -> None:
        matrices = [group for group in groups if group["muon"]]
        others = [group for group in groups if not group["muon"]]
        adamw = torch.optim.AdamW(others, weight_decay=weight_decay, betas=(0.9, 0.98))
        muon = torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self.parts: tuple[torch.optim.Optimizer, ...] = (muon, adamw)
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all groups."""
        for part in self.parts:
            part.step(closure)

    def state_dict(self) -> dict[str, Any]:
        """Of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def muon_groups(named: Iterable[tuple[str, torch.nn.Parameter]], rate: float, name: str = "") -> list[dict[str, Any]]:
    """The parameters of a transformer as two groups: its matrices, and its embeddings and vectors."""
    found = list(named)
    matrices = [parameter for each, parameter in found if parameter.ndim == 2 and "embed" not in each]
    others = [parameter for each, parameter in found if parameter.ndim != 2 or "embed" in each]
    return [
        {"params": matrices, "lr": rate, "full_rate": rate, "muon": True, "name": f"{name}matrices"},
        {"params": others, "lr": rate, "full_rate": rate, "muon": False, "name": f"{name}others"},
    ]
