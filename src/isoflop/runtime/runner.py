"""The runner: one ragged forward at a time over sequences that live in slots.

It checks the model before the first use: the same tokens through transformers' own attention must give the same
logits. What the checkpoint does after its last layer (soft caps, scales) is covered by that check too. It is not a
scheduler: who is in the forward is decided by the engine, the reward or the model that owns the runner.

    runner = Runner(model, slots=64, slot_tokens=2048)
    step = runner.step(Batch.of_segments([Segment(slot=0, start=0, tokens=3)], [[5, 6, 7]]))
    runner.logits(step.hidden_RD)                   # [1, V]

Legend: N tokens of this forward, R positions read, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isoflop.errors import ModelError
from isoflop.runtime.attention import NAME, Block, Ints, Layout, Segment
from isoflop.runtime.packed import pack_linears
from isoflop.runtime.slots import Slots

# A read-out: final hidden states [R, D] -> K numbers for each position [R, K].
Readout = Callable[[torch.Tensor], torch.Tensor]
_NONE: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes into one forward: decoding rows in the order of their slots, segments with their tokens, and `behind`
    them further rows, block by block. Ids from the vocabulary's size on stand for the runner's own input vectors.

    What a forward gives comes in that order, whatever order the rows are computed in.
    """

    slots: Ints
    positions: Ints
    tokens: Ints
    segments: tuple[Segment, ...] = ()
    segment_tokens: tuple[Ints, ...] = ()
    behind: tuple[Block, ...] = ()

    @classmethod
    def of_segments(cls, segments: Sequence[Segment], tokens: Sequence[Sequence[int] | Ints]) -> Batch:
        """A batch without decoding rows."""
        pieces = tuple(np.asarray(piece, dtype=np.int64) for piece in tokens)
        return cls(_NONE, _NONE, _NONE, tuple(segments), pieces)

    @classmethod
    def of_blocks(cls, blocks: Sequence[Block]) -> Batch:
        """A batch of rows behind what is cached, block by block."""
        return cls(_NONE, _NONE, _NONE, behind=tuple(blocks))

    def laid_out(self) -> tuple[Block, Ints, npt.NDArray[np.bool_] | None]:
        """All single rows in the order of their slots; where in the forward the last token of each row and segment is;
        which single rows are newest tokens (None: all)."""
        newest = Block(self.slots, self.positions, self.tokens)
        ends = np.cumsum([s.tokens for s in self.segments], dtype=np.int64) - 1
        count = len(self.slots)
        if not self.behind:
            return newest, np.concatenate([np.arange(count), count + ends]), None
        rows, where = Block.joined([newest, *self.behind])
        is_newest = np.zeros(len(where), dtype=np.bool_)
        is_newest[where[:count]] = True
        return rows, np.concatenate([where[:count], len(where) + ends, where[count:]]), is_newest


@dataclass(frozen=True, slots=True)
class Advance:
    """What a forward gave: final hidden states at the positions read, the read-outs there, and how it was laid out."""

    hidden_RD: torch.Tensor
    readouts: tuple[torch.Tensor, ...]
    layout: Layout


class Runner:
    """A model with its slots. `slots` sequences of at most `slot_tokens` tokens each are held at once, with `front`
    places before each. `vectors` [n, D] are inputs that are no tokens; vocab_size + i stands for the i-th."""

    vectors: torch.Tensor | None = None

    def __init__(self, model: Any, *, slots: int, slot_tokens: int, front: int = 0) -> None:
        self.model = model
        self.decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        config = model.config.get_text_config()
        self.vocab_size = int(config.vocab_size)
        self._softcap = getattr(config, "final_logit_softcapping", None)
        self._scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        _refuse_unknown_layers(model, config)
        reference, shapes = _reference(model)
        model.set_attn_implementation(NAME)
        pack_linears(model)
        self.head = model.get_output_embeddings()
        self.slots = Slots(shapes, slots, slot_tokens, self.dtype, self.device, front)
        self._check(reference, len(shapes))

    @torch.inference_mode()
    def step(self, batch: Batch, *, at: Ints | None = None, readouts: Sequence[Readout] = ()) -> Advance:
        """Run one forward. `at` picks the tokens to read (default: the last of each sequence)."""
        rows, last, newest = batch.laid_out()
        layout = Layout(self.slots, rows, batch.segments, self.device, newest)
        hidden_ND = self._hidden(self._inputs(np.concatenate([rows.tokens, *batch.segment_tokens])), layout)
        read = last if at is None else at
        whole = len(read) == len(hidden_ND) and (newest is None or bool((np.diff(read) == 1).all()))
        hidden_RD = hidden_ND if whole else hidden_ND[torch.from_numpy(read).to(self.device)]
        return Advance(hidden_RD, tuple(readout(hidden_RD) for readout in readouts), layout)

    @torch.inference_mode()
    def logits(self, hidden_RD: torch.Tensor) -> torch.Tensor:
        """The next token's logits [R, V], as the checkpoint itself would make them."""
        logits_RV: torch.Tensor = self.head(hidden_RD)
        if self._scale != 1:
            logits_RV = logits_RV * self._scale
        if self._softcap is not None:
            logits_RV = torch.tanh(logits_RV / self._softcap) * self._softcap
        return logits_RV

    def free(self) -> None:
        """Give back the memory of the slots."""
        self.slots.keys_SKTD.clear()
        self.slots.values_SKTD.clear()

    @torch.inference_mode()
    def _inputs(self, ids: Ints) -> dict[str, torch.Tensor]:
        """Ids as the decoder takes them, or embeddings where some of them stand for vectors."""
        ids_N = torch.from_numpy(ids).to(self.device)
        own = ids >= self.vocab_size
        if self.vectors is None or not own.any():
            return {"input_ids": ids_N[None]}
        places = torch.from_numpy(np.flatnonzero(own)).to(self.device)
        which = ids_N[places] - self.vocab_size
        embedded_ND = self.model.get_input_embeddings()(ids_N.index_fill(0, places, 0))
        embedded_ND[places] = self.vectors[which]
        return {"inputs_embeds": embedded_ND[None]}

    @torch.inference_mode()
    def _hidden(self, inputs: dict[str, torch.Tensor], layout: Layout) -> torch.Tensor:
        output = self.decoder(**inputs, position_ids=layout.positions_N[None], use_cache=False, isoflop_layout=layout)
        hidden: torch.Tensor = output.last_hidden_state[0]
        return hidden

    def _check(self, reference_NV: torch.Tensor, layers: int) -> None:
        """Run the probe in two pieces, a segment and one decoded token, and compare."""
        name = type(self.model).__name__
        probe = _probe(self.vocab_size)
        head = Batch.of_segments([Segment(0, 0, len(probe) - 1)], [probe[:-1]])
        tail = Batch(np.zeros(1, np.int64), np.array([len(probe) - 1]), probe[-1:])
        own = [self.logits(self.step(head, at=np.arange(len(probe) - 1)).hidden_RD)]
        layout = Layout(self.slots, Block(tail.slots, tail.positions, tail.tokens), (), self.device)
        own.append(self.logits(self._hidden(self._inputs(tail.tokens), layout)))
        if layout.calls != layers:
            raise ModelError(
                f"the local engine cannot run {name}: {layout.calls} of its {layers} layers use transformers' "
                "attention interface, and the others would forget what they read; use the remote engine"
            )
        own_NV = torch.cat(own).float()
        error = ((own_NV - reference_NV).norm() / reference_NV.norm()).item()
        limit = 1e-3 if self.dtype is torch.float32 else 0.1
        if not error <= limit:
            raise ModelError(
                f"the local engine cannot run {name}: its logits differ from transformers' own by {error:.2g} of their "
                f"size (allowed {limit:g}); use the remote engine"
            )


def _probe(vocab_size: int) -> Ints:
    return np.arange(1, 8, dtype=np.int64) * 7 % vocab_size


@torch.inference_mode()
def _reference(model: Any) -> tuple[torch.Tensor, list[tuple[int, int, int]]]:
    """The probe's logits by transformers' own attention, and the heads and sizes of each layer's keys and values."""
    device = next(model.parameters()).device
    output = model(torch.from_numpy(_probe(model.config.get_text_config().vocab_size)).to(device)[None], use_cache=True)
    layers = getattr(output.past_key_values, "layers", [])
    keys = [getattr(layer, "keys", None) for layer in layers]
    if not layers or any(key is None for key in keys):
        raise ModelError(
            f"the local engine cannot run {type(model).__name__}: not all of its layers keep keys and values; "
            "use the remote engine"
        )
    shapes = [(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]) for layer in layers]
    return output.logits[0].float(), shapes


def _refuse_unknown_layers(model: Any, config: Any) -> None:
    known = {"full_attention", "sliding_attention"}
    unknown = set(getattr(config, "layer_types", None) or ()) - known
    if unknown:
        raise ModelError(
            f"the local engine cannot run {type(model).__name__}: layers of type {', '.join(sorted(unknown))}; "
            f"it knows {', '.join(sorted(known))}; use the remote engine"
        )
