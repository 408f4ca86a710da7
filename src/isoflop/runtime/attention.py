"""Attention over slots, registered with transformers as "isoflop_slots".

A forward carries one row of tokens, those of all sequences one behind the other, so that linear layers see no padding.
A `Layout` says which tokens belong to which slot. Single new tokens are handled together, in groups of neighbouring
slots; longer pieces one by one. A slot may have several rows in one forward (a newest token and thoughts behind it or
behind earlier ones): all keys are written before any is read. No model is patched: this is transformers' own interface
for attention functions, and a model that does not use it is refused by the `Runner`.

    layout = Layout(slots, Block(slots_B, positions_B, tokens_B), segments, device)
    model(input_ids=ids_1N, position_ids=positions_1N, use_cache=False, isoflop_layout=layout)

Legend: N tokens of this forward, B single rows, S slots in a group (holes included), R rows a slot (padding included),
H query heads, K key-value heads, X = S*K, G query heads per key-value head, Q = R*G, M new tokens of one segment, T
context, D head size.
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
    """Single new tokens, in the order of their slots; a slot may have several.

    A thought's rows have `anchors`: the position of the token that they follow. They see what that token sees, and each
    other. They are kept right behind it, or, where `lanes` says so, in the slot's front, from that place on.
    """

    slots: Ints
    positions: Ints
    tokens: Ints
    anchors: Ints | None = None
    lanes: Ints | None = None

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> tuple[Block, Ints]:
        """All rows in the order of their slots, and where each row of the blocks, one behind the other, went."""
        slots = np.concatenate([one.slots for one in blocks])
        order = np.argsort(slots, kind="stable")
        where = np.empty_like(order)
        where[order] = np.arange(len(order))
        positions, tokens = (
            np.concatenate([getattr(one, name) for one in blocks])[order] for name in ("positions", "tokens")
        )
        anchors = np.concatenate([one.positions if one.anchors is None else one.anchors for one in blocks])[order]
        lanes = None
        if any(one.lanes is not None for one in blocks):
            lanes = np.concatenate([np.full_like(one.slots, -1) if one.lanes is None else one.lanes for one in blocks])
            lanes = lanes[order]
        return cls(slots[order], positions, tokens, anchors, lanes), where


@dataclass(frozen=True, slots=True)
class Group:
    """Rows `first` to `last` (exclusive) of a forward, which live in the slots `low` to `high` (exclusive), at most
    `rows` in each. They see keys from `begin` on, where no window says less: then those from `nearest` less the window
    on. `laned`: some keep their keys in the front."""

    first: int
    last: int
    low: int
    high: int
    rows: int
    longest: int
    shortest: int
    begin: int
    nearest: int
    laned: bool
    holes: torch.Tensor | None  # where the rows are among rows * slots, if some places are empty

    def first_key(self, window: int | None) -> int:
        """Keys before this one are out of every row's window."""
        return self.begin if window is None or self.laned else max(self.begin, self.nearest - window)

    def pairs(self, window: int | None) -> int:
        """Query-key pairs that are multiplied, padding included."""
        return (self.high - self.low) * self.rows * (self.longest - self.first_key(window))


class Layout:
    """Who is who in one forward: single rows in the order of their slots, then the segments. `newest` says which of the
    rows are their slots' newest tokens; the others are thoughts."""

    def __init__(
        self,
        slots: Slots,
        rows: Block,
        segments: Sequence[Segment],
        device: torch.device,
        newest: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.slots, self.segments, self.rows = slots, segments, len(rows.slots)
        front = slots.front
        anchors = rows.positions if rows.anchors is None else rows.anchors
        seen = anchors + (front + 1)
        places, ends = rows.positions + front, rows.positions + (front + 1)
        laned: npt.NDArray[np.bool_] | bool = False
        if rows.lanes is not None:
            laned = rows.lanes >= 0
            places = np.where(laned, rows.lanes + (rows.positions - anchors - 1), places)
            ends = np.where(laned, seen, ends)
            self._own_N = torch.from_numpy(np.where(laned, rows.lanes, seen)).to(device)
        pieces = [np.arange(s.start, s.start + s.tokens) for s in segments]
        owners = [np.full(s.tokens, s.slot) for s in segments]
        self.positions_N = torch.from_numpy(_joined([rows.positions, *pieces])).to(device)
        self.places_N = torch.from_numpy(_joined([places, *(piece + front for piece in pieces)])).to(device)
        self.slots_N = torch.from_numpy(_joined([rows.slots, *owners])).to(device)
        self.groups = group(rows.slots, ends, device, seen=seen, laned=laned, begin=front)
        self._seen_N = torch.from_numpy(seen).to(device)
        self._newest = newest
        self.calls = 0
        self._masks: dict[tuple[Any, ...], torch.Tensor | None] = {}

    def newest_pairs(self, window: int | None) -> int:
        """Query-key pairs that one layer of this window multiplies for the newest tokens, their part of the padding
        included."""
        if self._newest is None:
            return sum(one.pairs(window) for one in self.groups)
        parts = [(one, int(self._newest[one.first : one.last].sum())) for one in self.groups]
        return sum(one.pairs(window) * newest // (one.last - one.first) for one, newest in parts)

    def behind_pairs(self, window: int | None) -> int:
        """The same for all other rows."""
        return sum(one.pairs(window) for one in self.groups) - self.newest_pairs(window)

    def group_mask(self, number: int, window: int | None, like: torch.Tensor) -> torch.Tensor | None:
        """What to add to the scores of a group, [S, 1, R, 1, T]; None where every slot sees every key."""
        group = self.groups[number]
        key = (number, window)
        if key not in self._masks:
            first_key = group.first_key(window)
            clipped = window is not None and group.longest - first_key > window
            padded = group.holes is not None or group.shortest < group.longest
            self._masks[key] = None
            if padded or clipped or group.laned:
                self._masks[key] = self._spread(group, _additive(self._seen(group, first_key, window), like))
        return self._masks[key]

    def _seen(self, group: Group, first_key: int, window: int | None) -> torch.Tensor:
        """Which keys each row of a group sees, [B, T]."""
        rows = slice(group.first, group.last)
        keys_T = torch.arange(first_key, group.longest, device=self.places_N.device)
        places_B1, seen_B1 = self.places_N[rows, None], self._seen_N[rows, None]
        seen_BT = keys_T < seen_B1 if group.laned else keys_T <= places_B1
        if window is not None:
            seen_BT &= keys_T >= seen_B1 - window
        if group.laned:
            seen_BT &= keys_T >= self.slots.front
            seen_BT |= (keys_T >= self._own_N[rows, None]) & (keys_T <= places_B1)
        return seen_BT

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
        """Rows put where their slots are; empty places see all keys (their result is thrown away)."""
        span = group.high - group.low
        if group.holes is not None:
            spread = mask_BT.new_zeros((span * group.rows, mask_BT.shape[1]))
            spread[group.holes] = mask_BT
            mask_BT = spread
        return mask_BT.view(span, 1, group.rows, 1, -1)


def group(
    slots: Ints,
    ends: Ints,
    device: torch.device,
    wasted_keys: int = WASTED_KEYS,
    *,
    seen: Ints | None = None,
    laned: npt.NDArray[np.bool_] | bool = False,
    begin: int = 0,
) -> list[Group]:
    """Cut rows, sorted by slot, into groups of neighbours that waste few keys on holes and on shorter rows.

    `ends`: behind the last key that each row sees; `seen`: behind the last of its sequence, where its window counts
    from; keys before `begin` are no sequence's, but of those rows that are `laned`.
    """
    starts = np.flatnonzero(np.diff(slots, prepend=-1))
    counts = np.diff(starts, append=len(slots))
    longest_of = np.maximum.reduceat(ends, starts) if len(starts) else ends
    used = np.cumsum(np.add.reduceat(ends, starts)) if len(starts) else ends
    found: list[Group] = []
    first = 0
    while first < len(starts):
        most = np.maximum.accumulate(counts[first:]) * np.maximum.accumulate(longest_of[first:])
        before = used[first - 1] if first else 0
        wasted = (slots[starts[first:]] - slots[starts[first]] + 1) * most - (used[first:] - before)
        # The waste only grows from slot to slot.
        last = first + max(1, int(np.searchsorted(wasted, wasted_keys, side="right")))
        rows = slice(int(starts[first]), int(starts[last]) if last < len(starts) else len(slots))
        nearest = int((ends if seen is None else seen)[rows].min())
        inside = bool(np.any(laned if isinstance(laned, bool) else laned[rows]))
        found.append(_group(slots[rows], ends[rows], counts[first:last], rows.start, nearest, inside, begin, device))
        first = last
    return found


def _group(
    slots: Ints, ends: Ints, counts: Ints, first: int, nearest: int, laned: bool, begin: int, device: torch.device
) -> Group:
    low, high, rows = int(slots[0]), int(slots[-1]) + 1, int(counts.max())
    holes = None
    if (high - low) * rows > len(slots):
        rank = np.arange(len(slots)) - np.repeat(np.cumsum(counts) - counts, counts)
        holes = torch.from_numpy((slots - low) * rows + rank).to(device)
    ends_of = int(ends.max()), int(ends.min())
    return Group(first, first + len(slots), low, high, rows, *ends_of, 0 if laned else begin, nearest, laned, holes)


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
    slots.write(layer, layout.slots_N, layout.places_N, key[0], value[0])
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
        mixed_HMD = _prefill(query[0, :, begin:end], keys_SKTD, values_SKTD, segment, mask, how, slots.front)
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
    """A few queries per sequence. Query heads that share a key-value head are the rows of one small matrix, so nothing
    is repeated. Plain batched products: torch's fused kernel takes twice as long for so few queries a sequence."""
    heads, kv_heads = q_BHD.shape[1], keys_SKTD.shape[1]
    start, span, rows = group.first_key(how.window), group.high - group.low, group.rows
    if group.holes is not None:
        spread_BHD = q_BHD.new_zeros((span * rows, *q_BHD.shape[1:]))
        spread_BHD[group.holes] = q_BHD
        q_BHD = spread_BHD
    by_row = (span, rows, kv_heads, heads // kv_heads, -1)
    q_XQD = (q_BHD * how.scale).reshape(by_row).transpose(1, 2).reshape(span * kv_heads, rows * by_row[3], -1)
    k_XTD = keys_SKTD[group.low : group.high, :, start : group.longest].flatten(0, 1)
    v_XTD = values_SKTD[group.low : group.high, :, start : group.longest].flatten(0, 1)
    scores_XQT = torch.bmm(q_XQD, k_XTD.mT)
    if how.softcap is not None:
        scores_XQT = torch.tanh(scores_XQT / how.softcap) * how.softcap
    if mask is not None:
        scores_XQT.view(span, kv_heads, rows, by_row[3], -1).add_(mask)
    mixed_XQD = torch.bmm(scores_XQT.softmax(-1), v_XTD)
    mixed_BHD = mixed_XQD.view(span, kv_heads, rows, by_row[3], -1).transpose(1, 2).reshape(span * rows, heads, -1)
    return mixed_BHD if group.holes is None else mixed_BHD[group.holes]


def _prefill(
    q_HMD: torch.Tensor,
    keys_SKTD: torch.Tensor,
    values_SKTD: torch.Tensor,
    segment: Segment,
    mask: torch.Tensor | None,
    how: _How,
    front: int,
) -> torch.Tensor:
    """Many queries of one sequence; soft-capped scores (Gemma 2) have no fused kernel."""
    keys = slice(front, front + segment.start + segment.tokens)
    k_KTD = keys_SKTD[segment.slot, :, keys].contiguous()
    v_KTD = values_SKTD[segment.slot, :, keys]
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
