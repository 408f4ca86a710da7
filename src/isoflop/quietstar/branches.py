"""Attention for thoughts: visible tokens in one cache, thoughts in branches beside it, never inside it.

A branch hangs at an anchor, a visible position. Its rows attend the visible tokens up to the anchor and the earlier
rows of the same branch; visible tokens never see a branch. So taking a thought back is dropping the branches, and a
forward over thoughts at every position needs no square mask over all its inputs: scores against the visible tokens are
[rows, T], those within branches [rows, G]. It is registered with transformers as the attention "isoflop_thoughts"; a
forward without `thought_branches` is transformers' own `sdpa`. No model is patched.

With a sliding window a thought's rows see the visible tokens that their *anchor* sees, and always all of their own
branch: that is what the reference computes.

    branches = Branches()
    branches.open(anchors_BA)
    branches.expect(visible=0, groups=1)
    decoder(inputs_embeds=.., position_ids=.., thought_branches=branches, ...)
    branches.close()

Legend: B sequences, T visible tokens so far, V new visible tokens, A anchors, G rows of a branch so far, N new rows
(V + new groups * A), K key-value heads, R query heads per key-value head, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from isoflop.errors import ModelError

NAME = "isoflop_thoughts"
Pair = tuple[torch.Tensor, torch.Tensor]


class Branches:
    """Keys and values of visible tokens [B, K, T, D] and of branches [B, K, G, A, D], for each layer.

    `real_BT` (bool) marks tokens that are no padding; without it all are real.
    """

    def __init__(self, real_BT: torch.Tensor | None = None) -> None:
        self.tokens = 0
        self._real_BT = real_BT
        self._visible: dict[int, Pair] = {}
        self._own: dict[int, Pair] = {}
        self._anchors_BA = torch.zeros(1, 0, dtype=torch.long)
        self._groups = self._new_visible = self._new_groups = self.calls = 0
        self._masks: dict[int | None, torch.Tensor] = {}

    def open(self, anchors_BA: torch.Tensor) -> None:
        """Begin a branch at each anchor."""
        self._anchors_BA = anchors_BA

    def expect(self, visible: int, groups: int) -> None:
        """Say what the next forward carries: `visible` new tokens, then `groups` new rows for every anchor."""
        self.tokens += visible
        self._groups += groups
        self._new_visible, self._new_groups, self.calls = visible, groups, 0
        self._masks.clear()

    def close(self) -> None:
        """Drop all branches: the visible tokens are as if no thought had been."""
        self._own.clear()
        self._masks.clear()
        self._groups = 0

    def positions_BN(self, device: torch.device) -> torch.Tensor:
        """Rotary positions of the expected rows: row k (from 1) of a branch stands k after its anchor."""
        new = torch.arange(self.tokens - self._new_visible, self.tokens, device=device)
        depth_g = torch.arange(self._groups - self._new_groups, self._groups, device=device) + 1
        rows_BN = (self._anchors_BA[:, None] + depth_g[None, :, None]).flatten(1)
        return torch.cat([new.expand(len(rows_BN), -1), rows_BN], dim=1)

    def attend(
        self, layer: int, query: torch.Tensor, new: Pair, scale: float, window: int | None, softcap: float | None
    ) -> torch.Tensor:
        """[B, K*R, N, D] queries with their keys and values [B, K, N, D] -> [B, N, K*R, D]."""
        self.calls += 1
        rows, kv_heads = query.shape[2], new[0].shape[1]
        q_BKRND = torch.unflatten(query, 1, (kv_heads, -1))
        keys_BKTD, values_BKTD = self._append_visible(layer, new)
        scores = torch.unflatten(q_BKRND.flatten(2, 3) @ keys_BKTD.transpose(-1, -2), 2, (-1, rows)) * scale
        scores = _cap(scores, softcap) + self._mask(window, query)
        if not self._groups:
            shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
            return _merge(shares.flatten(2, 3) @ values_BKTD, rows)
        own = self._append_own(layer, new)
        scores = torch.cat([scores, self._own_scores(q_BKRND, own[0], scale, softcap)], dim=-1)
        shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        shares_visible, shares_own = shares[..., : self.tokens], shares[..., self.tokens :]
        out = shares_visible.flatten(2, 3) @ values_BKTD
        return _merge(out, rows, self._own_values(shares_own, own[1]))

    def _append_visible(self, layer: int, new: Pair) -> Pair:
        count = self._new_visible
        if count:
            fresh = (new[0][:, :, :count], new[1][:, :, :count])
            old = self._visible.get(layer)
            self._visible[layer] = fresh if old is None else _joined(old, fresh)
        return self._visible[layer]

    def _append_own(self, layer: int, new: Pair) -> Pair:
        if self._new_groups:
            shape = (self._new_groups, -1)
            keys, values = (torch.unflatten(part[:, :, self._new_visible :], 2, shape) for part in new)
            fresh = (keys, values)
            old = self._own.get(layer)
            self._own[layer] = fresh if old is None else _joined(old, fresh)
        return self._own[layer]

    def _own_scores(
        self, q_BKRND: torch.Tensor, keys_BKGAD: torch.Tensor, scale: float, softcap: float | None
    ) -> torch.Tensor:
        """[B, K, R, N, G]: branch rows against their own branch; visible rows see none of it."""
        q_BKRgAD = torch.unflatten(q_BKRND[..., self._new_visible :, :], 3, (self._new_groups, -1))
        scores = _cap(torch.einsum("bkrgad,bkcad->bkrgac", q_BKRgAD, keys_BKGAD) * scale, softcap)
        own_g = torch.arange(self._groups - self._new_groups, self._groups, device=scores.device)
        later_gG = torch.arange(self._groups, device=scores.device) > own_g[:, None]
        scores = scores.masked_fill(later_gG[:, None], float("-inf")).flatten(3, 4)
        unseen = scores.new_full((*scores.shape[:3], self._new_visible, self._groups), float("-inf"))
        return torch.cat([unseen, scores], dim=3) if self._new_visible else scores

    def _own_values(self, shares_BKRNG: torch.Tensor, values_BKGAD: torch.Tensor) -> torch.Tensor:
        """What branch rows take from their own branch, [B, K, R, N, D]; zeros for visible rows."""
        shares = torch.unflatten(shares_BKRNG[..., self._new_visible :, :], 3, (self._new_groups, -1))
        taken = torch.einsum("bkrgac,bkcad->bkrgad", shares, values_BKGAD).flatten(3, 4)
        nothing = taken.new_zeros((*taken.shape[:3], self._new_visible, taken.shape[-1]))
        return torch.cat([nothing, taken], dim=3) if self._new_visible else taken

    def _mask(self, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """What to add to the scores against visible tokens: [B or 1, 1, 1, N, T]."""
        if window not in self._masks:
            device = like.device
            new = torch.arange(self.tokens - self._new_visible, self.tokens, device=device)
            anchors_BN = self._anchors_BA.repeat(1, self._new_groups)
            seen_from_BN = torch.cat([new.expand(len(anchors_BN), -1), anchors_BN], dim=1)[..., None]
            keys_T = torch.arange(self.tokens, device=device)
            seen_BNT = keys_T <= seen_from_BN
            if window is not None:
                seen_BNT &= keys_T > seen_from_BN - window
            if self._real_BT is not None:
                # A padding row keeps itself: a row that sees nothing is NaN, and NaN spreads through gradients.
                seen_BNT = seen_BNT & (self._real_BT[:, None, : self.tokens] | (keys_T == seen_from_BN))
            mask = torch.zeros(seen_BNT.shape, dtype=like.dtype, device=device)
            self._masks[window] = mask.masked_fill_(~seen_BNT, float("-inf"))[:, None, None]
        return self._masks[window]


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    thought_branches: Branches | None = None,
    s_aux: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls."""
    if s_aux is not None:
        raise ModelError(f"thoughts cannot be put on {type(module).__name__}: it has attention sinks")
    if thought_branches is None:
        plain = _soft_capped if softcap is not None else sdpa_attention_forward
        result: tuple[torch.Tensor, None] = plain(
            module, query, key, value, attention_mask, scaling=scaling, softcap=softcap, **others
        )
        return result
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    return thought_branches.attend(layer, query, (key, value), scale, sliding_window, softcap), None


def _soft_capped(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None,
    softcap: float | None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Plain attention whose scores are capped (Gemma 2), which `sdpa` refuses."""
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    k, v = (part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in (key, value))
    scores = _cap(query @ k.transpose(-1, -2) * scale, softcap)
    if attention_mask is None:  # transformers leaves the mask of plain causality to the kernel
        attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril(
            scores.shape[-1] - scores.shape[-2]
        )
    scores = (
        scores.masked_fill(~attention_mask, float("-inf"))
        if attention_mask.dtype is torch.bool
        else scores + attention_mask
    )
    return (scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ v).transpose(1, 2), None


def _joined(old: Pair, new: Pair) -> Pair:
    return torch.cat([old[0], new[0]], dim=2), torch.cat([old[1], new[1]], dim=2)


def _cap(scores: torch.Tensor, softcap: float | None) -> torch.Tensor:
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap


def _merge(out_BKMD: torch.Tensor, rows: int, more_BKRND: torch.Tensor | None = None) -> torch.Tensor:
    out_BKRND = torch.unflatten(out_BKMD, 2, (-1, rows))
    if more_BKRND is not None:
        out_BKRND = out_BKRND + more_BKRND
    return out_BKRND.flatten(1, 2).transpose(1, 2)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
