"""Attention over slots, registered with transformers as "isoflop_slots".

A forward carries one row of tokens, those of all sequences one behind the other, so that linear layers see no padding.
A `Layout` says which tokens belong to which slot. Single new tokens of several sequences are handled together, in
groups of neighbouring slots; longer pieces one by one. A slot may have several rows in one forward (a newest token and
a thought behind it): then each stands in a `Block` of its own, and all keys are written before any is read. No model is
patched: this is transformers' own interface for attention functions, and a model that does not use it is refused by the
`Runner`.

    layout = Layout(slots, [Block(slots_B, positions_B, tokens_B)], segments, device)
    model(input_ids=ids_1N, position_ids=positions_1N, use_cache=False, isoflop_layout=layout)

Legend: N tokens of this forward, B rows of a group, S slots in a group (holes included), H query heads, K key-value
heads, X = S*K, G query heads per key-value head, M new tokens of one segment, T context, D head size.
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

Ints = npt.NDArray[np.int64]
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
class Block:
    """One new token for each of several slots, in the order of the slots. `anchors`: the positions from which their
    windows reach back, where these are not their own: a thought sees what the token that it follows sees."""

    slots: Ints
    positions: Ints
    tokens: Ints
    anchors: Ints | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows `first` to `last` (exclusive) of a forward, which live in the slots `low` to `high` (exclusive). The row
    whose window reaches back farthest is anchored behind `nearest` tokens."""

    first: int
    last: int
    low: int
    high: int
    longest: int
    shortest: int
    nearest: int
    holes: torch.Tensor | None  # where the rows sit among the slots, if not all slots are rows

    def first_key(self, window: int | None) -> int:
        """Keys before this one are out of every row's window."""
        return 0 if window is None else max(0, self.nearest - window)

    def pairs(self, window: int | None) -> int:
        """Query-key pairs that are multiplied, padding included."""
        return (self.high - self.low) * (self.longest - self.first_key(window))


class Layout:
    """Who is who in one forward: the first block's rows, the segments, then the other blocks' rows."""

    def __init__(
        self, slots: Slots, blocks: Sequence[Block], segments: Sequence[Segment], device: torch.device
    ) -> None:
        self.slots, self.segments, self.rows = slots, segments, len(blocks[0].slots) if blocks else 0
        first, others = blocks[:1], blocks[1:]
        pieces = [np.arange(s.start, s.start + s.tokens) for s in segments]
        owners = [np.full(s.tokens, s.slot) for s in segments]
        positions = _joined([*(b.positions for b in first), *pieces, *(b.positions for b in others)])
        self.positions_N = torch.from_numpy(positions).to(device)
        self.slots_N = torch.from_numpy(_joined([*(b.slots for b in first), *owners, *(b.slots for b in others)])).to(
            device
        )
        self.groups: list[Group] = []
        anchors: list[Ints] = []
        begin = 0
        for number, block in enumerate(blocks):
            anchors.append(block.positions if block.anchors is None else block.anchors)
            self.groups += group(block.slots, block.positions + 1, device, anchored=anchors[-1] + 1, begin=begin)
            begin += len(block.slots) + (0 if number else sum(s.tokens for s in segments))
        self._anchored_N = torch.from_numpy(_joined([*anchors[:1], *pieces, *anchors[1:]]) + 1).to(device)
        self.calls = 0
        self._masks: dict[tuple[Any, ...], torch.Tensor | None] = {}

    def decode_pairs(self, window: int | None) -> int:
        """Query-key pairs that one layer of this window multiplies for the first block's rows, padding included."""
        return sum(one.pairs(window) for one in self.groups if one.last <= self.rows)

    def behind_pairs(self, window: int | None) -> int:
        """The same for the rows of all other blocks."""
        return sum(one.pairs(window) for one in self.groups if one.last > self.rows)

    def group_mask(self, number: int, window: int | None, like: torch.Tensor) -> torch.Tensor | None:
        """What to add to the scores of a group, [S, 1, 1, T]; None where every slot sees every key."""
        group = self.groups[number]
        key = (number, window)
        if key not in self._masks:
            first_key = group.first_key(window)
            clipped = window is not None and group.longest - first_key > window
            if group.holes is None and group.shortest == group.longest and not clipped:
                self._masks[key] = None
            else:
                rows = slice(group.first, group.last)
                keys_T = torch.arange(first_key, group.longest, device=like.device)
                seen_BT = keys_T <= self.positions_N[rows, None]
                if window is not None:
                    seen_BT &= keys_T >= self._anchored_N[rows, None] - window
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
    slots: Ints,
    lengths: Ints,
    device: torch.device,
    wasted_keys: int = WASTED_KEYS,
    *,
    anchored: Ints | None = None,
    begin: int = 0,
) -> list[Group]:
    """Cut rows, sorted by slot, into groups of neighbours that waste few keys on holes and on shorter rows. The rows
    are number `begin` and following of the forward, and `anchored` the lengths that their windows count from."""
    found: list[Group] = []
    first = 0
    while first < len(slots):
        longest = np.maximum.accumulate(lengths[first:])
        wasted = (slots[first:] - slots[first] + 1) * longest - np.cumsum(lengths[first:])
        # The waste only grows from row to row.
        last = first + max(1, int(np.searchsorted(wasted, wasted_keys, side="right")))
        rows = slice(first, last)
        nearest = int((lengths if anchored is None else anchored)[rows].min())
        found.append(_group(slots[rows], lengths[rows], begin + first, nearest, device))
        first = last
    return found


def _group(slots: Ints, lengths: Ints, first: int, nearest: int, device: torch.device) -> Group:
    low, high, rows = int(slots[0]), int(slots[-1]) + 1, len(slots)
    holes = torch.from_numpy(slots - low).to(device) if high - low > rows else None
    return Group(first, first + rows, low, high, int(lengths.max()), int(lengths.min()), nearest, holes)


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
    if layout is None:
        raise _refused(module, "it does not pass keyword arguments on to its attention function")
    if s_aux is not None:
        raise _refused(module, "it has attention sinks")
    layout.calls += 1
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    slots = layout.slots
    if key.shape[1::2] != slots.keys_SKTD[layer].shape[1::2]:
        raise _refused(module, "it caches something else than keys and values")
    slots.write(layer, layout.slots_N, layout.positions_N, key[0], value[0])
    keys_SKTD, values_SKTD = slots.keys_SKTD[layer], slots.values_SKTD[layer]
    how = _How(scaling if scaling is not None else query.shape[-1] ** -0.5, sliding_window, softcap)
    query_NHD = query[0].transpose(0, 1)
    if len(layout.groups) == 1 and not layout.segments:
        mask = layout.group_mask(0, sliding_window, query)
        return _decode(query_NHD, keys_SKTD, values_SKTD, layout.groups[0], mask, how)[None], None
    out_NHD = query.new_empty((*query_NHD.shape[:2], values_SKTD.shape[3]))
    for number, one in enumerate(layout.groups):
        mask = layout.group_mask(number, sliding_window, query)
        out_NHD[one.first : one.last] = _decode(query_NHD[one.first : one.last], keys_SKTD, values_SKTD, one, mask, how)
    begin = layout.rows
    for segment in layout.segments:
        end = begin + segment.tokens
        mask = layout.segment_mask(segment, sliding_window, query)
        mixed_HMD = _prefill(query[0, :, begin:end], keys_SKTD, values_SKTD, segment, mask, how)
        out_NHD[begin:end] = mixed_HMD.transpose(0, 1)
        begin = end
    return out_NHD[None], None


def _refused(module: torch.nn.Module, reason: str) -> ModelError:
    return ModelError(f"the local engine cannot run {type(module).__name__}: {reason}; use the remote engine")


@dataclass(frozen=True, slots=True)
class _How:
    """What one layer does with its scores."""

    scale: float
    window: int | None
    softcap: float | None


def _decode(
    q_BHD: torch.Tensor,
    keys_SKTD: torch.Tensor,
    values_SKTD: torch.Tensor,
    group: Group,
    mask: torch.Tensor | None,
    how: _How,
) -> torch.Tensor:
    """One query per sequence. Query heads that share a key-value head are the rows of one small matrix, so nothing is
    repeated. Plain batched products: torch's fused kernel takes twice as long for so few queries a sequence."""
    heads, kv_heads = q_BHD.shape[1], keys_SKTD.shape[1]
    start, span = group.first_key(how.window), group.high - group.low
    if group.holes is not None:
        spread_SHD = q_BHD.new_zeros((span, *q_BHD.shape[1:]))
        spread_SHD[group.holes] = q_BHD
        q_BHD = spread_SHD
    q_XGD = (q_BHD * how.scale).reshape(span * kv_heads, heads // kv_heads, -1)
    k_XTD = keys_SKTD[group.low : group.high, :, start : group.longest].flatten(0, 1)
    v_XTD = values_SKTD[group.low : group.high, :, start : group.longest].flatten(0, 1)
    scores_XGT = torch.bmm(q_XGD, k_XTD.mT)
    if how.softcap is not None:
        scores_XGT = torch.tanh(scores_XGT / how.softcap) * how.softcap
    if mask is not None:
        scores_XGT.view(span, kv_heads, heads // kv_heads, -1).add_(mask)
    mixed_SHD = torch.bmm(scores_XGT.softmax(-1), v_XTD).view(span, heads, -1)
    return mixed_SHD if group.holes is None else mixed_SHD[group.holes]


def _prefill(
    q_HMD: torch.Tensor,
    keys_SKTD: torch.Tensor,
    values_SKTD: torch.Tensor,
    segment: Segment,
    mask: torch.Tensor | None,
    how: _How,
) -> torch.Tensor:
    """Many queries of one sequence; soft-capped scores (Gemma 2) have no fused kernel."""
    end = segment.start + segment.tokens
    k_KTD = keys_SKTD[segment.slot, :, :end].contiguous()
    v_KTD = values_SKTD[segment.slot, :, :end]
    if how.softcap is None:
        return scaled_dot_product_attention(
            q_HMD[None], k_KTD[None], v_KTD[None], mask, is_causal=mask is None, scale=how.scale, enable_gqa=True
        )[0]
    group = q_HMD.shape[0] // k_KTD.shape[0]
    scores_HMT = (q_HMD * how.scale) @ k_KTD.repeat_interleave(group, 0).mT
    scores_HMT = torch.tanh(scores_HMT / how.softcap) * how.softcap
    if mask is None:
        mask = _additive(torch.ones(scores_HMT.shape[1:], dtype=torch.bool, device=q_HMD.device).tril(), q_HMD)
    return (scores_HMT + mask).softmax(-1) @ v_KTD.repeat_interleave(group, 0)


def _joined(pieces: Sequence[Ints]) -> Ints:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _additive(seen: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros(seen.shape, dtype=like.dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


AttentionInterface.register(NAME, attend)
