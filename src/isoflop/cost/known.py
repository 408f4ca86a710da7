"""The configs of the published study's checkpoints in numbers, for machines without a network.

A config that can be had, from a folder, a cache or the hub, always goes before. Mistral-7B-v0.1 is its family's
defaults; the others are fine-tuned from it: Quiet-STaR with two ids more, for the start and the end of a thought (by
the shapes of its tensors; its config.json was not at hand).

    CONFIGS["mistralai/Mistral-7B-v0.1"]["vocab_size"]        # 32000
"""

from __future__ import annotations

from typing import Any

_MISTRAL_7B: dict[str, Any] = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
CONFIGS: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-v0.1": _MISTRAL_7B,
    "ezelikman/quietstar-8-ahead": _MISTRAL_7B | {"vocab_size": 32002},
    "peiyi9979/math-shepherd-mistral-7b-prm": _MISTRAL_7B,
}
