"""Opening a local engine: the model, its tokenizer, and as many slots as the memory allows.

engine = open_local(Local("path/to/model"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from isoflop.cost.flops import Pricer
from isoflop.cost.shape import load_shape
from isoflop.engines.base import Capabilities
from isoflop.engines.local import Local
from isoflop.engines.local_engine import LocalEngine
from isoflop.engines.local_text import Tokens, end_tokens
from isoflop.engines.local_thinker import Thinker
from isoflop.errors import ModelError
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.runtime.readout import load_readout
from isoflop.runtime.runner import Runner

DEFAULT_CONTEXT_TOKENS = 2048
# From a runner, its tokens' bytes and its prices to what thinks on it.
MakeThinker = Callable[[Runner, list[bytes], Pricer], Thinker]


def open_local(
    spec: Local,
    *,
    model: Any = None,
    make_thinker: MakeThinker | None = None,
    spare_tokens: int = 0,
    front_tokens: int = 0,
) -> LocalEngine:
    """Load what the spec names, unless `model` is loaded already. Raises ModelError with the reason where that fails.

    Each slot gets `spare_tokens` behind the context and `front_tokens` before it, for the thinker.
    """
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    if model is None:
        model = load_model(spec.model, dtype=spec.dtype, device=spec.device)
    tokenizer = load_tokenizer(spec.model)
    shape = load_shape(spec.model).in_dtype(str(model.dtype).removeprefix("torch."))
    # Rotary positions of the last thoughts may lie a few beyond what the model was made for; learned ones do not exist.
    limit = shape.max_positions - (spare_tokens if shape.learned_positions else 0)
    context = min(spec.context_tokens or DEFAULT_CONTEXT_TOKENS, limit)
    if spec.context_tokens is not None and spec.context_tokens > limit:
        raise ModelError(f"local(context_tokens={spec.context_tokens}): {spec.model!r} was made for {limit} tokens")
    slot_bytes = (front_tokens + context + spare_tokens) * shape.kv_bytes_per_token
    slots = int(spec.memory_gb * 1e9) // slot_bytes
    if slots < 1:
        raise ModelError(
            f"local(memory_gb={spec.memory_gb}): one sequence of {context} tokens takes {slot_bytes / 1e9:.3g} GB of "
            "keys and values; raise memory_gb or lower context_tokens"
        )
    count = min(slots, 8 * spec.max_live)
    runner = Runner(model, slots=count, slot_tokens=context + spare_tokens, front=front_tokens)
    tokens = Tokens(tokenizer, runner.vocab_size, end_tokens(model, tokenizer))
    thinker = make_thinker(runner, tokens.pieces, Pricer(shape)) if make_thinker else None
    engine = LocalEngine(runner, tokens, shape, spec.max_live, thinker, share_prompts=spec.share_prompts)
    if spec.readout is not None:
        engine.readout = load_readout(
            spec.readout, hidden_size=shape.hidden_size, model=spec.model, device=runner.device
        )
        engine.capabilities = Capabilities(readout=spec.readout)
    return engine
