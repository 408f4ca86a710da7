"""vLLM's own scheduler in this process: requests go in as token ids, `poll` is one of its steps.

engine = open_vllm(Vllm("path/to/model"))
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import ZERO, Cost, Role
from isoflop.cost.shape import ModelShape, load_shape
from isoflop.engines.base import Capabilities, Generation, GenerationRequest
from isoflop.engines.call_cost import call_cost
from isoflop.engines.draft import Draft
from isoflop.engines.local_text import Tokens, generation_end_tokens
from isoflop.engines.model_engine import ModelEngine
from isoflop.engines.vllm import Vllm
from isoflop.errors import MissingExtraError, ModelError

DEFAULT_CONTEXT_TOKENS = 4096


def open_vllm(spec: Vllm) -> VllmEngine:
    """See the module."""
    try:
        from vllm import LLM
    except ImportError as error:
        raise MissingExtraError(f"{spec} needs vLLM ({error}): pip install 'isoflop[vllm]'") from None
    from isoflop.runtime.loading import load_tokenizer

    shape, tokenizer = load_shape(spec.model), load_tokenizer(spec.model)
    context = spec.context_tokens or min(DEFAULT_CONTEXT_TOKENS, shape.max_positions)
    try:
        model = LLM(
            model=spec.model,
            dtype=spec.dtype,
            max_model_len=context,
            max_num_seqs=spec.max_live,
            gpu_memory_utilization=spec.memory_share,
            tensor_parallel_size=spec.tensor_parallel,
            pipeline_parallel_size=spec.pipeline_parallel,
            enforce_eager=spec.eager,
            enable_prefix_caching=True,
            generation_config="vllm",  # the model's own defaults would change what is sampled
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"{spec}: vLLM cannot load it: {str(error).strip().splitlines()[-1]}") from error
    if spec.dtype != "auto":
        shape = shape.in_dtype(spec.dtype)
    tokens = Tokens(tokenizer, max(shape.vocab_size, len(tokenizer)), generation_end_tokens(tokenizer, spec.model))
    return VllmEngine(model.llm_engine, tokens, shape, context)


class _Asked:
    """One request in vLLM's hands: its draft, and what it took so far."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.cost, self.seconds = draft, ZERO, 0.0
        self.since = self.began = 0.0


class VllmEngine(ModelEngine):
    """See the module. `repeatable` is False: vLLM's kernels depend on what else is in the batch."""

    capabilities = Capabilities(repeatable=False)

    def __init__(self, engine: Any, tokens: Tokens, shape: ModelShape, context_tokens: int) -> None:
        super().__init__(tokens, Pricer(shape), context_tokens)
        self._engine = engine
        self._calls = count(1)
        self._asked: dict[str, _Asked] = {}
        self._ready: list[Generation] = []
        self._each = 0.0  # busy seconds, each divided over the calls that were in the batch

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Into vLLM's queue."""
        for request in requests:
            draft = Draft(request, self.tokens, self.context_tokens)
            if draft.refusal is None:
                self._ask(_Asked(draft))
            else:
                self._ready.append(Generation(request.id, (), error=draft.refusal))

    def poll(self) -> list[Generation]:
        """One step of vLLM's; what stopped where no step has ended goes on."""
        done, self._ready = self._ready, []
        if not self._asked:
            return done
        began, live = time.perf_counter(), len(self._asked)
        outputs = self._engine.step()
        self._each += (time.perf_counter() - began) / live
        for output in outputs:
            asked = self._asked.pop(output.request_id, None) if output.finished else None
            if asked is None:
                continue
            self._take(asked, output)
            if asked.draft.done:
                done.append(_generation(asked))
            else:
                self._ask(asked)
        return done

    def cancel(self, ids: Sequence[int]) -> None:
        """Out of vLLM's batch; what it had made in the current call is lost."""
        wanted = set(ids)
        names = [name for name, asked in self._asked.items() if asked.draft.request.id in wanted]
        self._engine.abort_request(names)
        self._ready += [_generation(self._asked.pop(name), cancelled=True) for name in names]

    def release(self, search: str) -> None:
        """Nothing is held: vLLM keeps its own cache of prefixes."""

    def close(self) -> None:
        """Give the memory back."""
        engine, self._engine = self._engine, None
        if engine is not None:
            with suppress(AttributeError):
                engine.engine_core.shutdown()

    def _ask(self, asked: _Asked) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        draft, name = asked.draft, str(next(self._calls))
        request = draft.request
        asked.since, asked.began = self._each, time.perf_counter()
        self._asked[name] = asked
        params = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            max_tokens=draft.left,
            stop=list(draft.stops),
            seed=draft.seed,
            logprobs=0,
            skip_special_tokens=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._engine.add_request(name, {"prompt_token_ids": list(draft.path)}, params)

    def _take(self, asked: _Asked, output: Any) -> None:
        """Read a finished call into the draft, and book it."""
        draft, [made] = asked.draft, output.outputs
        seconds = self._each - asked.since
        elapsed = time.perf_counter() - asked.began
        if made.token_ids:
            asked.cost += call_cost(
                self.pricer,
                read=len(draft.path),
                cached=output.num_cached_tokens or 0,
                new=len(made.token_ids),
                rows=max(1, round(elapsed / seconds)) if seconds else 1,
                seconds=seconds,
            )
            asked.seconds += seconds
        told = made.logprobs or [{}] * len(made.token_ids)
        for token, logprobs in zip(made.token_ids, told, strict=True):
            value = logprobs[token].logprob if token in logprobs else math.nan
            if draft.push(token, value):
                return
        if made.finish_reason != "stop" or not made.token_ids:
            draft.left = 0  # its context is full


def _generation(asked: _Asked, *, cancelled: bool = False) -> Generation:
    spent: dict[Role, Cost] = {} if asked.cost is ZERO else {"policy": asked.cost}
    return Generation(asked.draft.request.id, asked.draft.steps(), spent, asked.seconds, cancelled=cancelled)
