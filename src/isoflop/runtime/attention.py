"""Attention over slots, registered with transformers as "isoflop_slots".

A forward carries one row of tokens, those of all sequences one behind the other, so that linear layers see no padding.
A `Layout` says which tokens belong to which slot. Sequences with a single new token are handled together, in groups of
neighbouring slots; longer pieces one by one. No model is patched: this is transformers' own interface for attention
functions, and a model that does not use it is refused by the `Runner`.

    layout = Layout(slots, decode_slots, decode_positions, segments)
    model(input_ids=ids_1N, position_ids=positions_1N, use_cache=False, isoflop_layout=layout)

Legend: N tokens of this forward, B sequences with one new token, S slots in a group (holes included), H query heads,
K key-value heads, G query heads per key-value head, M new tokens of one segment, T context, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from isoflop.errors import ModelError
from isoflop.runtime.slots import Slots

NAME = "isoflop_slots"
# A group may multiply so many keys in vain before a second group, which costs a few calls a layer, is worth it.
WASTED_KEYS = 2048


@dataclass(frozen=True, slots=True)
class Segment:
    """Several new tokens of one sequence: they go to `slot` from position `start` on."""

    slot: int
    start: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Group:
    """Decoding rows `first` to `last` (exclusive), which live in the slots `low` to `high` (exclusive)."""

    first: int
    last: int
    low: int
    high: int
    longest: int
    shortest: int
    holes: torch.Tensor | None  # where the rows sit among the slots, if not all slots are rows

    def first_key(self, window: int | None) -> int:
        """Keys before this one are out of every row's window."""
        return 0 if window is None else max(0, self.shortest - window)


class Layout:
    """Who is who in one forward: the decoding rows come first, in slot order, then the segments."""

    def __init__(
        self,
        slots: Slots,
        decode_slots: npt.NDArray[np.int64],
        decode_positions: npt.NDArray[np.int64],
        segments: Sequence[Segment],
        device: torch.device,
    ) -> None:
        self.slots, self.segments, self.rows = slots, segments, len(decode_slots)
        self.groups = group(decode_slots, decode_positions + 1, device)
        self.lengths_B = torch.from_numpy(decode_positions + 1).to(device)
        pieces = [np.arange(s.start, s.start + s.tokens) for s in segments]
        self.positions_N = torch.from_numpy(np.concatenate([decode_positions, *pieces])).to(device)
        owners = [np.full(s.tokens, s.slot) for s in segments]
        self.slots_N = torch.from_numpy(np.concatenate([decode_slots, *owners])).to(device)
        self.calls = 0
        self._masks: dict[tuple[Any, ...], torch.Tensor | None] = {}

    def decode_pairs(self, window: int | None) -> int:
        """Query-key pairs that one layer of this window multiplies for the decoding rows, padding included."""
        return sum((one.high - one.low) * (one.longest - one.first_key(window)) for one in self.groups)

    def group_mask(self, number: int, first_key: int, window: int | None, like: torch.Tensor) -> torch.Tensor | None:
        """What to add to the scores of a group, [S, 1, 1, T]; None where every slot sees every key."""
        group = self.groups[number]
        key = (number, first_key, window)
        if key not in self._masks:
            clipped = window is not None and group.longest - first_key > window
            if group.holes is None and group.shortest == group.longest and not clipped:
                self._masks[key] = None
            else:
                lengths_B = self.lengths_B[group.first : group.last, None]
                keys_T = torch.arange(first_key, group.longest, device=like.device)
                seen_BT = keys_T < lengths_B
                if window is not None:
                    seen_BT &= keys_T >= lengths_B - window
                self._masks[key] = self._spread(group, _additive(seen_BT, like))[:, None, None]
        return self._masks[key]

    def segment_mask(self, segment: Segment, window: int | None, like: torch.Tensor) -> torch.Tensor | None:
        """What to add to the scores of a segment, [M, T]; None where plain causality from the start says it all."""
        end = segment.start + segment.tokens
        if segment.start == 0 and (window is None or window >= end):
            return None
        key = (segment, window)
        if key not in self._masks:
            queries_M = torch.arange(segment.start, end, device=like.device)[:, None]
            keys_T = torch.arange(end, device=like.device)
            seen_MT = keys_T <= queries_M
            if window is not None:
                seen_MT &= keys_T > queries_M - window
            self._masks[key] = _additive(seen_MT, like)
        return self._masks[key]

    def _spread(self, group: Group, mask_BT: torch.Tensor) -> torch.Tensor:
        """Rows put where their slots are; slots of others see all keys (their result is thrown away)."""
        if group.holes is None:
            return mask_BT
        mask_ST = mask_BT.new_zeros((group.high - group.low, mask_BT.shape[1]))
        mask_ST[group.holes] = mask_BT
        return mask_ST


def group(
    slots: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], device: torch.device, wasted_keys: int = WASTED_KEYS
) -> list[Group]:
    """Cut rows, sorted by slot, into groups of neighbours that waste few keys on holes and on shorter rows."""
    found: list[Group] = []
    first, wasted = 0, 0
    longest = 0
    pairs = list(zip(slots.tolist(), lengths.tolist(), strict=True))
    for row, (slot, length) in enumerate(pairs):
        if row > first:
            hole = slot - pairs[row - 1][0] - 1
            grown = max(longest, length)
            wasted += (row - first) * (grown - longest) + grown - length + hole * grown
            if wasted > wasted_keys:
                found.append(_group(pairs, first, row, device))
                first, wasted, longest = row, 0, 0
        longest = max(longest, length)
    if pairs:
        found.append(_group(pairs, first, len(pairs), device))
    return found


def _group(pairs: list[tuple[int, int]], first: int, last: int, device: torch.device) -> Group:
    low, high = pairs[first][0], pairs[last - 1][0] + 1
    lengths = [length for _, length in pairs[first:last]]
    holes = None
    if high - low > last - first:
        holes = torch.tensor([slot - low for slot, _ in pairs[first:last]], device=device)
    return Group(first, last, low, high, max(lengths), min(lengths), holes)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    isoflop_layout: Layout | None = None,
    s_aux: torch.Tensor | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function: [1, H, N, D] queries and [1, K, N, D] new keys and values -> [1, N, H, D]."""
    layout = isoflop_layout
    if layout is None or s_aux is not None:
        reason = "has attention sinks" if layout is not None else "does not pass keyword arguments to its attention"
        raise ModelError(f"the local engine cannot run {type(module).__name__}: it {reason}; use the remote engine")
    layout.calls += 1
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    slots = layout.slots
    slots.write(layer, layout.slots_N, layout.positions_N, key[0], value[0])
    window = sliding_window
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    keys_SKTD, values_SKTD = slots.keys_SKTD[layer], slots.values_SKTD[layer]
    query_NHD = query[0].transpose(0, 1)
    heads, kv_heads, size = query.shape[1], keys_SKTD.shape[1], values_SKTD.shape[3]
    out_NHD = query.new_empty((query.shape[2], heads, size))
    for number, one in enumerate(layout.groups):
        start = one.first_key(window)
        q_SHD = query_NHD[one.first : one.last]
        if one.holes is not None:
            spread = q_SHD.new_zeros((one.high - one.low, *q_SHD.shape[1:]))
            spread[one.holes] = q_SHD
            q_SHD = spread
        q_SKGD = q_SHD.reshape(q_SHD.shape[0], kv_heads, heads // kv_heads, -1)
        k_SKTD = keys_SKTD[one.low : one.high, :, start : one.longest]
        v_SKTD = values_SKTD[one.low : one.high, :, start : one.longest]
        mask = layout.group_mask(number, start, window, query)
        mixed_SKGD = _mix(q_SKGD, k_SKTD, v_SKTD, mask, scale, softcap)
        mixed_SHD = mixed_SKGD.reshape(mixed_SKGD.shape[0], heads, size)
        out_NHD[one.first : one.last] = mixed_SHD if one.holes is None else mixed_SHD[one.holes]
    begin = layout.rows
    for segment in layout.segments:
        end = segment.start + segment.tokens
        q_1HMD = query[:, :, begin : begin + segment.tokens]
        k_1KTD = keys_SKTD[segment.slot : segment.slot + 1, :, :end]
        v_1KTD = values_SKTD[segment.slot : segment.slot + 1, :, :end]
        mask = layout.segment_mask(segment, window, query)
        if softcap is not None:
            k_1KTD, v_1KTD = (t.repeat_interleave(heads // kv_heads, 1) for t in (k_1KTD, v_1KTD))
            mask = mask if mask is not None else _additive(_causal(segment.tokens, query.device), query)
            mixed = _mix(q_1HMD, k_1KTD, v_1KTD, mask, scale, softcap)
        else:
            mixed = scaled_dot_product_attention(
                q_1HMD, k_1KTD, v_1KTD, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
            )
        out_NHD[begin : begin + segment.tokens] = mixed[0].transpose(0, 1)
        begin += segment.tokens
    return out_NHD[None], None


def _mix(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, scale: float, softcap: float | None
) -> torch.Tensor:
    """Attention proper; soft-capped scores (Gemma 2) have no fused kernel."""
    if softcap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    scores = torch.tanh(q @ k.transpose(-1, -2) * (scale / softcap)) * softcap
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype) @ v


def _additive(seen: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros(seen.shape, dtype=like.dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def _causal(tokens: int, device: torch.device) -> torch.Tensor:
    return torch.ones((tokens, tokens), dtype=torch.bool, device=device).tril()


AttentionInterface.register(NAME, attend)
