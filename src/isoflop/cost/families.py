"""What each family of models does with its config.json: the keys' names, their defaults, and how layers differ.

A config.json leaves out what equals the default of its class in `transformers`, so the defaults belong to its meaning;
a test holds every one of them against the installed classes. This is not a list of models that an engine can run: it
is what a formula must know to count a model from its config alone, without weights and without torch.

    FAMILIES["mistral"].defaults["sliding_window"]        # 4096
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Read = Callable[[str], Any]
LayerRule = Callable[[int, Read], bool]


def _always(layer: int, read: Read) -> bool:
    return True


def _never(layer: int, read: Read) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Family:
    """How one `model_type` spells its shape. Keys are those of Llama's config; `names` lists a family's own ones.

    `slides` says which layers attend through the sliding window where the config does not list `layer_types`;
    `sparse` which layers choose among experts. Norms are counted in vectors of the hidden size; `query_key_norm` adds
    one over each head or over all heads of queries and of keys.
    """

    defaults: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    gated: bool = True
    query_key_value_bias: bool | str = False
    output_bias: bool | str = False
    feed_forward_bias: bool | str = False
    norms_per_layer: int = 2
    final_norms: int = 1
    query_key_norm: Literal["none", "head", "all heads"] = "none"
    slides: LayerRule = _never
    reads_layer_types: bool = False
    sparse: LayerRule = _never
    expert_width: str = "intermediate_size"
    shared_expert: bool = False
    learned_positions: bool = False


def _defaults(
    hidden: int, width: int | None, layers: int, heads: int, vocabulary: int, positions: int, **more: Any
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": None,
        "head_dim": None,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "tie_word_embeddings": False,
        "sliding_window": None,
    } | more


def _past_the_first_layers(layer: int, read: Read) -> bool:
    return bool(layer >= read("max_window_layers"))


def _every_other_of_the_first(layer: int, read: Read) -> bool:
    return layer % 2 == 0 and bool(layer < read("max_window_layers"))


def _all_but_each(period: int) -> LayerRule:
    return lambda layer, read: (layer + 1) % period != 0


def _all_but_each_pattern(layer: int, read: Read) -> bool:
    return bool((layer + 1) % read("sliding_window_pattern") != 0)


def _qwen_sparse(layer: int, read: Read) -> bool:
    listed = read("mlp_only_layers") or ()
    return layer not in listed and read("num_experts") > 0 and (layer + 1) % read("decoder_sparse_step") == 0


_QWEN_WINDOW = {"use_sliding_window": False, "sliding_window": 4096}
_GEMMA = {"tie_word_embeddings": True, "attention_bias": False, "head_dim": 256}
_ATTENTION_BIAS: dict[str, Any] = {"query_key_value_bias": "attention_bias", "output_bias": "attention_bias"}
_GEMMA3 = Family(
    _defaults(2304, 9216, 26, 8, 262208, 131072, **_GEMMA, num_key_value_heads=4, sliding_window=4096)
    | {"sliding_window_pattern": 6},
    norms_per_layer=4,
    query_key_norm="head",
    slides=_all_but_each_pattern,
    reads_layer_types=True,
    **_ATTENTION_BIAS,
)

FAMILIES: dict[str, Family] = {
    "llama": Family(
        _defaults(4096, 11008, 32, 32, 32000, 2048, attention_bias=False, mlp_bias=False),
        feed_forward_bias="mlp_bias",
        **_ATTENTION_BIAS,
    ),
    "mistral": Family(
        _defaults(4096, 14336, 32, 32, 32000, 131072, num_key_value_heads=8, sliding_window=4096), slides=_always
    ),
    "mixtral": Family(
        _defaults(4096, 14336, 32, 32, 32000, 131072, num_key_value_heads=8)
        | {"num_local_experts": 8, "num_experts_per_tok": 2},
        names={"num_experts": "num_local_experts"},
        slides=_always,
        sparse=_always,
    ),
    "qwen2": Family(
        _defaults(4096, 22016, 32, 32, 151936, 32768, num_key_value_heads=32, max_window_layers=28) | _QWEN_WINDOW,
        query_key_value_bias=True,
        slides=_past_the_first_layers,
        reads_layer_types=True,
    ),
    "qwen2_moe": Family(
        _defaults(2048, 5632, 24, 16, 151936, 32768, num_key_value_heads=16, max_window_layers=28, qkv_bias=True)
        | _QWEN_WINDOW
        | {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408}
        | {"shared_expert_intermediate_size": 5632, "decoder_sparse_step": 1, "mlp_only_layers": None},
        query_key_value_bias="qkv_bias",
        slides=_every_other_of_the_first,
        reads_layer_types=True,
        sparse=_qwen_sparse,
        expert_width="moe_intermediate_size",
        shared_expert=True,
    ),
    "qwen3": Family(
        _defaults(4096, 22016, 32, 32, 151936, 32768, num_key_value_heads=32, head_dim=128, attention_bias=False)
        | _QWEN_WINDOW
        | {"max_window_layers": 28},
        query_key_norm="head",
        slides=_past_the_first_layers,
        reads_layer_types=True,
        **_ATTENTION_BIAS,
    ),
    "qwen3_moe": Family(
        _defaults(2048, 6144, 24, 32, 151936, 32768, num_key_value_heads=4, attention_bias=False)
        | _QWEN_WINDOW
        | {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
        | {"decoder_sparse_step": 1, "mlp_only_layers": None},
        names={"num_experts": "num_local_experts"},
        query_key_norm="head",
        slides=_always,
        sparse=_qwen_sparse,
        expert_width="moe_intermediate_size",
        **_ATTENTION_BIAS,
    ),
    "gemma": Family(_defaults(3072, 24576, 28, 16, 256000, 8192, **_GEMMA, num_key_value_heads=16), **_ATTENTION_BIAS),
    "gemma2": Family(
        _defaults(2304, 9216, 26, 8, 256000, 8192, **_GEMMA, num_key_value_heads=4, sliding_window=4096),
        norms_per_layer=4,
        slides=_all_but_each(2),
        reads_layer_types=True,
        **_ATTENTION_BIAS,
    ),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "phi3": Family(_defaults(3072, 8192, 32, 32, 32064, 4096), slides=_always),
    "gpt2": Family(
        _defaults(768, None, 12, 12, 50257, 1024, tie_word_embeddings=True),
        names={
            "hidden_size": "n_embd",
            "intermediate_size": "n_inner",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
        },
        gated=False,
        query_key_value_bias=True,
        output_bias=True,
        feed_forward_bias=True,
        norms_per_layer=4,  # two layer norms, each a scale and a shift
        final_norms=2,
        learned_positions=True,
    ),
    "gpt_neox": Family(
        _defaults(6144, 24576, 44, 64, 50432, 2048, attention_bias=True),
        gated=False,
        feed_forward_bias=True,
        norms_per_layer=4,
        final_norms=2,
        **_ATTENTION_BIAS,
    ),
    "olmo": Family(
        _defaults(4096, 11008, 32, 32, 50304, 2048, attention_bias=False),
        norms_per_layer=0,  # OLMo's layer norm has no parameters
        final_norms=0,
        **_ATTENTION_BIAS,
    ),
    "olmo2": Family(
        _defaults(4096, 11008, 32, 32, 50304, 2048, attention_bias=False),
        query_key_norm="all heads",
        **_ATTENTION_BIAS,
    ),
    "olmo3": Family(
        _defaults(4096, 11008, 32, 32, 50304, 2048, attention_bias=False, sliding_window=4096),
        query_key_norm="all heads",
        slides=_all_but_each(4),
        reads_layer_types=True,
        **_ATTENTION_BIAS,
    ),
    "olmoe": Family(
        _defaults(2048, 2048, 16, 16, 50304, 4096, attention_bias=False)
        | {"num_experts": 64, "num_experts_per_tok": 8},
        query_key_norm="all heads",
        sparse=_always,
        **_ATTENTION_BIAS,
    ),
}
