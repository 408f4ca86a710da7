"""What is refused before anything is computed: models that thoughts cannot be put on, prompts that would corrupt them.

check_ids(torch.tensor([[5, 6, 7]]), vocab_size=202, config=config)         # the same ids, as int64
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from isoflop.errors import ModelError
from isoflop.quietstar.config import ThoughtConfig

KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})


def check_base(base: Any, config: ThoughtConfig) -> None:
    """Refuse a model whose rows cannot be given positions of their own, or that is not made of attention layers."""
    name = type(base).__name__
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    if decoder is None or base.get_output_embeddings() is None:
        raise ModelError(
            f"thoughts cannot be put on {name}: it is no causal language model of transformers with a head"
        )
    accepted = inspect.signature(decoder.forward).parameters
    missing = [name for name in ("inputs_embeds", "position_ids", "kwargs") if name not in accepted]
    if missing:
        raise ModelError(f"thoughts cannot be put on {name}: its forward takes no {' and no '.join(missing)}")
    unknown = set(getattr(base.config.get_text_config(), "layer_types", None) or ()) - KNOWN_LAYERS
    if unknown:
        raise ModelError(
            f"thoughts cannot be put on {name}: layers of type {', '.join(sorted(unknown))} keep a running state that "
            f"a thought would change; allowed: {', '.join(sorted(KNOWN_LAYERS))}"
        )
    size = int(base.config.get_text_config().vocab_size)
    outside = [i for i in config.thought_ids if not 0 <= i < size]
    if outside:
        raise ModelError(f"thought ids {outside} are outside the vocabulary of {size}; allowed: 0 to {size - 1}")


def check_ids(ids_BS: torch.Tensor, vocab_size: int, config: ThoughtConfig) -> torch.Tensor:
    """Token ids [B, S] as int64, or an error: empty, not whole, outside the vocabulary, or a thought id."""
    if ids_BS.ndim != 2:
        raise ModelError(f"token ids of shape {list(ids_BS.shape[1:])} are no sequence; give a flat list of ids")
    if ids_BS.shape[1] == 0:
        raise ModelError("there is no token to think after; give at least one id (a prompt may be the BOS token alone)")
    if ids_BS.is_floating_point() or ids_BS.is_complex() or ids_BS.dtype is torch.bool:
        raise ModelError(f"token ids are of type {ids_BS.dtype}; give whole numbers")
    low, high = int(ids_BS.min()), int(ids_BS.max())
    if low < 0 or high >= vocab_size:
        raise ModelError(
            f"token id {low if low < 0 else high} is outside the vocabulary; allowed: 0 to {vocab_size - 1}"
        )
    for thought_id in config.thought_ids:
        if bool((ids_BS == thought_id).any()):
            where = int((ids_BS == thought_id).any(0).nonzero()[0])
            raise ModelError(
                f"thought id {thought_id} stands in the prompt, at position {where}: start and end of a thought are "
                "never visible (the reference would replace every token of the batch by the start vector); leave "
                f"out ids {', '.join(map(str, config.thought_ids))}"
            )
    return ids_BS.long()
