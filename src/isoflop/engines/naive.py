"""The naive twin of the local engine: one left-padded `generate` of transformers per search and depth, nothing reused.

Every request reads its whole prefix again, rows are padded to the longest, and all wait for the slowest: what most
published search code does. It draws its tokens by the same rule from the same random numbers, so in float32 it writes
what the local engine writes. It is the oracle in tests and the ablation in benchmarks, not a way to save anything.

    engine = Naive("path/to/model").open()
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from isoflop.core import Step
from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost
from isoflop.cost.shape import load_shape
from isoflop.engines.base import Capabilities, EngineSpec, Generation, GenerationRequest
from isoflop.engines.local_text import Tokens, end_tokens
from isoflop.engines.model_engine import ModelEngine
from isoflop.engines.segment import Segmenter, look_back, tail_bytes
from isoflop.randomness import uniforms
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.runtime.readout import load_readout
from isoflop.runtime.sampling import sample
from isoflop.specs import require


@dataclass(frozen=True)
class Naive(EngineSpec):
    """Fields as in `local`; there is no memory budget, since nothing is kept."""

    spec_name: ClassVar[str] = "naive"

    model: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    context_tokens: int | None = None
    threads: int | None = None
    readout: str | None = None

    def __post_init__(self) -> None:
        for name in ("context_tokens", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"naive({name}={value}): at least 1, or left out")

    def open(self) -> NaiveEngine:
        """Load the model."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        model = load_model(self.model, dtype=self.dtype, device=self.device)
        return NaiveEngine(self, model)


class NaiveEngine(ModelEngine):
    """See the module. One `poll` runs one search's waiting requests to their ends."""

    def __init__(self, spec: Naive, model: Any) -> None:
        tokenizer = load_tokenizer(spec.model)
        shape = load_shape(spec.model).in_dtype(str(model.dtype).removeprefix("torch."))
        tokens = Tokens(tokenizer, model.config.get_text_config().vocab_size, end_tokens(model, tokenizer))
        super().__init__(tokens, Pricer(shape), min(spec.context_tokens or 2048, shape.max_positions))
        self.model = model
        self.readout = None
        if spec.readout is not None:
            where = {"hidden_size": shape.hidden_size, "model": spec.model, "device": model.device}
            self.readout = load_readout(spec.readout, **where)
            self.capabilities = Capabilities(readout=spec.readout)
        self._queue: deque[GenerationRequest] = deque()
        self._done: list[Generation] = []

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Requests wait for their search's turn."""
        for request in requests:
            known = request.parent.length + len(request.forced)
            if 0 < known < self.context_tokens:
                self._queue.append(request)
            else:
                reason = f"{known} tokens of prompt and solution do not fit into 1 to {self.context_tokens - 1}"
                self._done.append(Generation(request.id, (), error=reason))

    def poll(self) -> list[Generation]:
        """One `generate` over all that the first waiting search has asked for."""
        if self._queue:
            search = self._queue[0].parent.origin.search
            batch = [request for request in self._queue if request.parent.origin.search == search]
            self._queue = deque(request for request in self._queue if request.parent.origin.search != search)
            self._done += self._generate(batch)
        done, self._done = self._done, []
        return done

    def cancel(self, ids: Sequence[int]) -> None:
        """Only waiting requests can be cancelled: a `generate` runs to its end."""
        wanted = set(ids)
        self._done += [Generation(r.id, (), cancelled=True) for r in self._queue if r.id in wanted]
        self._queue = deque(request for request in self._queue if request.id not in wanted)

    def release(self, search: str) -> None:
        """Nothing is held."""

    def _generate(self, batch: Sequence[GenerationRequest]) -> list[Generation]:
        began = time.perf_counter()
        prefixes = [request.parent.tokens + request.forced for request in batch]
        width = max(map(len, prefixes))
        ids = torch.tensor([(0,) * (width - len(prefix)) + prefix for prefix in prefixes], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prefixes], device=self.model.device)
        draw = _Draw(batch, prefixes, self.tokens, self.context_tokens)
        config = GenerationConfig(max_new_tokens=int(draw.left.max()), do_sample=False, pad_token_id=0, use_cache=True)
        self.model.generation_config.eos_token_id = None  # the segmenter knows where to stop
        self.model.generate(
            ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([draw]),
            stopping_criteria=StoppingCriteriaList([_Stop(draw)]),
        )
        seconds = (time.perf_counter() - began) / len(batch)
        return [self._generation(draw, i, width, seconds) for i in range(len(batch))]

    def _generation(self, draw: _Draw, i: int, width: int, seconds: float) -> Generation:
        """What row i made, and its share: everything read anew, and padding multiplied to the end of the slowest."""
        pricer, rows = self.pricer, len(draw.batch)
        segmenter, known = draw.segmenters[i], len(draw.prefixes[i])
        segmenter.cut()
        steps = tuple(segmenter.steps)
        sampled = sum(step.sampled for step in steps)
        forwards = draw.forwards
        prefill, decode = pricer.prefill_cost(0, known), pricer.decode_cost(known, max(0, sampled - 1))
        cost = Cost(
            prefill_flops=prefill.flops,
            decode_flops=decode.flops,
            executed_flops=pricer.executed_prefill(0, width) + pricer.executed_decode(width, forwards - 1),
            weight_bytes=(pricer.weight_bytes(width * rows, rows) + (forwards - 1) * pricer.weight_bytes(rows, rows))
            // rows,
            kv_read_bytes=prefill.kv_read_bytes + decode.kv_read_bytes,
            kv_held_bytes=rows * (width + forwards - 1) * pricer.kv_bytes_per_token,
            serial_forwards=forwards if i == 0 else 0,
            prompt_tokens=known,
            new_tokens=sampled,
            seconds=seconds,
        )
        broken = "the model's logits are not numbers (NaN or infinite); try dtype='float32'" if draw.broken[i] else None
        made = () if broken else self._read(draw.batch[i].parent.tokens, steps)
        return Generation(draw.batch[i].id, made, {"policy": cost}, seconds, broken)

    @torch.inference_mode()
    def _read(self, known: tuple[int, ...], steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """The steps with what the head reads before each one's last token, in one more forward over the whole path."""
        if self.readout is None:
            return steps
        path = [*known, *(token for step in steps for token in step.tokens)]
        ids = torch.tensor([path], device=self.model.device)
        hidden_ND = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0]
        ends = accumulate((len(step.tokens) for step in steps), initial=len(known))
        read = self.readout(hidden_ND[[end - 2 for end in ends][1:]]).tolist()
        return tuple(replace(step, readouts=tuple(own)) for step, own in zip(steps, read, strict=True))


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Draws the tokens itself and leaves `generate`, which takes the best, no choice."""

    def __init__(
        self, batch: Sequence[GenerationRequest], prefixes: Sequence[tuple[int, ...]], tokens: Tokens, context: int
    ) -> None:
        self.batch, self.prefixes, self.pieces = batch, prefixes, tokens.pieces
        self.segmenters = [
            Segmenter(
                request,
                [tokens.pieces[token] for token in request.forced],
                tail_bytes(request.parent, tokens.pieces, look_back(request)),
                tokens.end_tokens,
            )
            for request in batch
        ]
        self.left = np.array([min(r.max_tokens, context - len(p)) for r, p in zip(batch, prefixes, strict=True)])
        self.done = np.zeros(len(batch), dtype=np.bool_)
        self.broken = np.zeros(len(batch), dtype=np.bool_)
        self.forwards = 0
        self._index = np.array([r.parent.num_tokens + len(r.forced) for r in batch], dtype=np.uint64)
        self._streams = np.array([request.stream for request in batch], dtype=np.uint64)
        self._temperature = np.array([request.temperature for request in batch], dtype=np.float64)
        self._top_p = np.array([request.top_p for request in batch], dtype=np.float64)
        self._top_k = np.array([request.top_k for request in batch], dtype=np.int64)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        draws = uniforms(self._streams, self._index)
        rows = np.arange(len(self.batch))
        tokens, logprobs, broken = sample(scores, rows, self._temperature, self._top_p, self._top_k, draws)
        for i in np.flatnonzero(~self.done).tolist():
            token = int(tokens[i])
            if broken[i]:
                self.broken[i] = self.done[i] = True
                continue
            self.left[i] -= 1
            ended = self.segmenters[i].push([token], [float(logprobs[i])], [self.pieces[token]])
            self.done[i] = ended or self.left[i] == 0
        self._index += np.uint64(1)
        self.forwards += 1
        choice = torch.from_numpy(tokens).to(scores.device)[:, None]
        return torch.full_like(scores, float("-inf")).scatter_(1, choice, 0.0)


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """A row is done when its segmenter or its cap says so."""

    def __init__(self, draw: _Draw) -> None:
        self.draw = draw

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **unused: Any) -> torch.Tensor:
        return torch.from_numpy(self.draw.done.copy()).to(input_ids.device)
