"""A shape read from a config alone must be that of the model which transformers builds from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from isoflop.cost.families import FAMILIES
from isoflop.cost.shape import ExpertFeedForward, ModelShape, load_shape, shape_from_config
from isoflop.errors import ModelError

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 64,
}
SMALL_WITHOUT_GROUPS = {key: value for key, value in SMALL.items() if key != "num_key_value_heads"}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 97, "n_positions": 64}
WINDOW = {"use_sliding_window": True, "sliding_window": 8}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "llama with biases": {"model_type": "llama", **SMALL, "attention_bias": True, "mlp_bias": True},
    "llama tied, wide heads": {"model_type": "llama", **SMALL, "tie_word_embeddings": True, "head_dim": 24},
    "mistral": {"model_type": "mistral", **SMALL},
    "mistral, no window": {"model_type": "mistral", **SMALL, "sliding_window": None},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": {"model_type": "qwen2", **SMALL},
    "qwen2, window on": {"model_type": "qwen2", **SMALL, **WINDOW, "max_window_layers": 2},
    "qwen2, listed layers": {
        "model_type": "qwen2",
        **SMALL,
        **WINDOW,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "qwen2_moe": {"model_type": "qwen2_moe", **SMALL, **EXPERTS, "shared_expert_intermediate_size": 40},
    "qwen2_moe, every other layer dense": {
        "model_type": "qwen2_moe",
        **SMALL,
        **EXPERTS,
        **WINDOW,
        "decoder_sparse_step": 2,
        "max_window_layers": 3,
    },
    "qwen3": {"model_type": "qwen3", **SMALL},
    "qwen3_moe": {"model_type": "qwen3_moe", **SMALL, **EXPERTS, "mlp_only_layers": [1]},
    "qwen3_moe, window on": {"model_type": "qwen3_moe", **SMALL, **EXPERTS, **WINDOW},
    "gemma": {"model_type": "gemma", **SMALL},
    "gemma2": {"model_type": "gemma2", **SMALL, "sliding_window": 8},
    "gemma3_text": {"model_type": "gemma3_text", **SMALL, "sliding_window": 8, "sliding_window_pattern": 3},
    "phi3": {"model_type": "phi3", **SMALL, "pad_token_id": 0},
    "gpt2": {"model_type": "gpt2", **SMALL_GPT2},
    "gpt2, own width": {"model_type": "gpt2", **SMALL_GPT2, "n_inner": 40},
    "gpt_neox": {"model_type": "gpt_neox", **SMALL_WITHOUT_GROUPS},
    "olmo": {"model_type": "olmo", **SMALL},
    "olmo2": {"model_type": "olmo2", **SMALL},
    "olmo3": {"model_type": "olmo3", **SMALL, "sliding_window": 8},
    "olmoe": {"model_type": "olmoe", **SMALL, "num_experts": 6, "num_experts_per_tok": 2},
}


def build(config: dict[str, Any]) -> torch.nn.Module:
    values = {key: value for key, value in config.items() if key != "model_type"}
    ours = AutoConfig.for_model(config["model_type"], **{"bos_token_id": 1, "eos_token_id": 2, **values})
    with torch.device("meta"):
        model: torch.nn.Module = AutoModelForCausalLM.from_config(ours)
    return model


def windows_of(model: torch.nn.Module) -> list[int | None]:
    """What each attention layer itself says; models whose layers all slide say it in their config."""
    layers = [m for name, m in model.named_modules() if name.endswith((".attn", ".self_attn", ".attention"))]
    of_all = getattr(model.config, "sliding_window", None) if not hasattr(model.config, "layer_types") else None
    return [getattr(layer, "sliding_window", of_all) or None for layer in layers]


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_and_windows_are_those_of_the_real_model(name: str) -> None:
    model, shape = build(CONFIGS[name]), shape_from_config(CONFIGS[name])

    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert list(shape.windows) == windows_of(model)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_written_config_reads_back_to_the_same_shape(name: str, tmp_path: Path) -> None:
    """What `save_pretrained` writes spells keys in its own way (dtype, layer_types, num_local_experts)."""
    build(CONFIGS[name]).config.save_pretrained(tmp_path)

    assert load_shape(tmp_path) == shape_from_config(CONFIGS[name])


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_config_that_says_nothing_means_the_defaults_of_transformers(model_type: str) -> None:
    written_out = CONFIG_MAPPING[model_type]().to_dict()

    assert shape_from_config({"model_type": model_type}) == shape_from_config(written_out)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_default_that_a_switch_hides_is_that_of_transformers(model_type: str) -> None:
    """`sliding_window=4096` shows only once `use_sliding_window` is on."""
    switches = {"use_sliding_window": True} if "use_sliding_window" in FAMILIES[model_type].defaults else {}
    written_out = CONFIG_MAPPING[model_type](**switches).to_dict()

    assert shape_from_config({"model_type": model_type, **switches}) == shape_from_config(written_out)


def test_gemma3_nests_the_text_model_and_leaves_out_what_is_default() -> None:
    published = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    shape = shape_from_config(
        {"model_type": "gemma3", "dtype": "bfloat16", "text_config": {"model_type": "gemma3_text", **published}}
    )

    assert (shape.heads, shape.kv_heads, shape.head_dim, shape.tied_embeddings) == (8, 4, 256, True)
    assert shape.windows[:6] == (1024, 1024, 1024, 1024, 1024, None)
    assert shape.bytes_per_parameter == 2
    assert shape.parameters == pytest.approx(3.88e9, rel=0.01)  # "4B" is 4.3B with its vision tower


def test_active_parameters_leave_out_only_the_experts_a_token_skips() -> None:
    shape = shape_from_config(CONFIGS["qwen3_moe"])
    sparse = [layer for layer in shape.feed_forwards if isinstance(layer, ExpertFeedForward)]

    assert len(sparse) == 3
    assert shape.parameters - shape.active_parameters == 3 * (6 - 2) * 3 * 32 * 24


def test_dtype_decides_the_bytes() -> None:
    shape = shape_from_config({"model_type": "llama", **SMALL, "torch_dtype": "bfloat16"})

    assert shape.weight_bytes == 2 * shape.parameters
    assert shape.in_dtype("torch.float32").weight_bytes == 4 * shape.parameters
    assert shape.kv_bytes_per_token == 2 * 4 * 2 * 8 * 2  # key and value, layers, heads, head_dim, bytes
    with pytest.raises(ModelError, match=r"'int3' has no known size.*allowed: bfloat16, float16, float32, float64"):
        shape.in_dtype("int3")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mamba", **SMALL}, "'mamba' has no cost formula; did you mean 'llama'"),
        (SMALL, "model_type None has no cost formula; allowed: gemma, gemma2"),
        ({"model_type": "llama", **SMALL, "hidden_size": "32"}, "'hidden_size' is '32'; a positive whole number"),
        ({"model_type": "llama", **SMALL, "num_hidden_layers": 0}, "'num_hidden_layers' is 0"),
        ({"model_type": "llama", **SMALL, "num_key_value_heads": 3}, "4 is not a multiple of num_key_value_heads=3"),
        ({"model_type": "mixtral", **SMALL, "num_experts_per_tok": 9}, "num_experts_per_tok=9 is more than the 8"),
        ({"model_type": "gemma2", **SMALL, "layer_types": ["full_attention"]}, "has 1 entries for 4 layers"),
        ({"model_type": "gemma2", **SMALL, "layer_types": ["chunked"] * 4}, r"names \['chunked'\]; allowed: full"),
        ({"model_type": "llama", **SMALL, "quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_a_config_that_cannot_be_counted_is_refused_with_the_reason(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        shape_from_config(config)


def test_a_folder_and_its_config_are_the_same_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["qwen2"]))

    assert load_shape(tmp_path) == load_shape(str(tmp_path / "config.json")) == shape_from_config(CONFIGS["qwen2"])


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read as JSON"), ("[1]", "a JSON list; a model's")])
def test_a_damaged_config_says_which_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(ModelError, match=f"config.json.*{message}"):
        load_shape(tmp_path)


def test_a_folder_without_a_config_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"folder without a config\.json"):
        load_shape(tmp_path)


HUB_SCRIPT = """
import sys
from isoflop.cost.shape import load_shape
from isoflop.errors import ModelError
assert load_shape("small-lab/tiny-qwen").layers == 4
for unknown in ("small-lab/never-seen", "/no/such/folder"):
    try:
        load_shape(unknown)
    except ModelError as error:
        assert unknown in str(error) and "neither a folder" in str(error), error
    else:
        raise AssertionError(unknown)
assert "torch" not in sys.modules
"""


def test_a_hub_id_is_read_from_the_cache_without_torch(tmp_path: Path) -> None:
    """In a process of its own, since the hub's cache is fixed when its library is loaded."""
    repository = tmp_path / "hub" / "models--small-lab--tiny-qwen"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text(json.dumps(CONFIGS["qwen2"]))
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for key in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(key, None)

    ran = subprocess.run([sys.executable, "-c", HUB_SCRIPT], env=environment, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr


def test_shapes_are_values() -> None:
    first, second = (shape_from_config(CONFIGS["llama"]) for _ in range(2))

    assert isinstance(first, ModelShape)
    assert {first: "priced"}[second] == "priced"
