"""Tiny models with random weights, saved as ordinary transformers folders: no test needs a download.

Fixtures: `tiny_llama_folder`, and `tiny_models`, a folder per architecture; `policy`, a real server.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A property is no race: on busy cores one example may take seconds.
settings.register_profile("busy cores", deadline=None)
settings.load_profile("busy cores")

# Before anything imports the hub's client, which reads it once: no test may ask the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

CORPUS = [
    "Question: Tom has 3 apples and buys 4 more. How many apples does Tom have?\n",
    "First we add 3 and 4.\n3 + 4 = 7\nThe answer is 7.\n\n",
    "Emoji 🙂 and accents é, ü, 漢字 are split over tokens. <stop> Question: what is 12 * 12?\n",
]
VOCAB_SIZE = 384


def save_tokenizer(folder: Path) -> int:
    """A byte-level BPE tokenizer with think marks and a chat template; returns its end-of-sequence token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 8,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<eos>", "<think>", "</think>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    wrapped.chat_template = (
        "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    wrapped.save_pretrained(folder)
    return int(wrapped.eos_token_id)


def tiny_configs() -> dict[str, Any]:
    """One small configuration per architecture; windows are shorter than the sequences of the tests."""
    import transformers as t

    common: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    mixed = {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}
    return {
        "llama": t.LlamaConfig(**common),
        "mistral": t.MistralConfig(**common, sliding_window=None),
        "mistral_window": t.MistralConfig(**common, sliding_window=12),
        "qwen2": t.Qwen2Config(**common),
        "gemma3": t.Gemma3TextConfig(**common, **mixed, query_pre_attn_scalar=8),
        "gemma2": t.Gemma2Config(**common, **mixed, query_pre_attn_scalar=8),
        "qwen3_moe": t.Qwen3MoeConfig(**common, **experts),
    }


def save_model(config: Any, folder: Path, seed: int = 0) -> Path:
    """Random weights and the tokenizer, as `from_pretrained` expects them."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config.eos_token_id = save_tokenizer(folder)
    config.bos_token_id = config.pad_token_id = None
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder per architecture."""
    base = tmp_path_factory.mktemp("models")
    return {name: save_model(config, base / name) for name, config in tiny_configs().items()}


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random Llama."""
    return save_model(tiny_configs()["llama"], tmp_path_factory.mktemp("llama") / "llama")


@pytest.fixture(scope="session")
def policy() -> Any:
    """The spec of a real vLLM server that serves ENGINES_MODEL: for `make test-engines` alone."""
    from real_servers import VllmServer, setting

    from isoflop.engines.remote import Remote

    model = setting("ENGINES_MODEL", "the folder of a small instruction model")
    options = ["--dtype", "bfloat16", "--max-model-len", "1024", "--enable-prompt-tokens-details"]
    with VllmServer(model, "policy", *options) as url:
        yield Remote(url, "policy", tokenizer=model)
