"""Every formula against something that does not use it: torch's own counter, a loop over tokens, published numbers."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from isoflop.cost.devices import find_device, roofline_seconds
from isoflop.cost.explain import explain, format_flops
from isoflop.cost.flops import Pricer, attended_keys, estimate
from isoflop.cost.shape import shape_from_config
from isoflop.errors import SpecError

MISTRAL_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 131,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SMALL},
    "llama, wide heads": {"model_type": "llama", **SMALL, "head_dim": 24, "tie_word_embeddings": True},
    "mistral": {"model_type": "mistral", **SMALL, "sliding_window": None},
    "mistral, window": {"model_type": "mistral", **SMALL, "sliding_window": 7},
    "qwen2": {"model_type": "qwen2", **SMALL},
    "gemma3_text": {
        "model_type": "gemma3_text",
        **SMALL,
        "head_dim": 16,
        "sliding_window": 7,
        "sliding_window_pattern": 2,
    },
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {"model_type": "qwen2_moe", **SMALL, **EXPERTS, "shared_expert_intermediate_size": 40},
    "qwen3_moe": {"model_type": "qwen3_moe", **SMALL, **EXPERTS, "head_dim": 16, "mlp_only_layers": [1]},
    "phi3": {"model_type": "phi3", **SMALL},
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 131, "n_positions": 128},
    "gpt_neox": {"model_type": "gpt_neox", **{k: v for k, v in SMALL.items() if k != "num_key_value_heads"}},
}


def build(name: str) -> torch.nn.Module:
    values = {key: value for key, value in CONFIGS[name].items() if key != "model_type"}
    config = AutoConfig.for_model(CONFIGS[name]["model_type"], **values)
    kernels = {"attn_implementation": "eager"}
    if hasattr(config, "num_experts_per_tok"):
        kernels["experts_implementation"] = "eager"
    torch.manual_seed(0)
    model: torch.nn.Module = AutoModelForCausalLM.from_config(config, **kernels)
    return model.eval()


def counted(model: torch.nn.Module, ids: torch.Tensor, **options: Any) -> tuple[int, Any]:
    """The FLOPs that torch saw in one forward, and its output."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = model(ids, **options)
    return counter.get_total_flops(), output


@pytest.mark.parametrize("name", CONFIGS)
def test_prefill_executes_exactly_what_torch_counts(name: str) -> None:
    model, pricer = build(name), Pricer(shape_from_config(CONFIGS[name]))
    for rows, tokens, logits in ((1, 23, 23), (3, 17, 1)):
        flops, _ = counted(model, torch.randint(3, 131, (rows, tokens)), use_cache=False, logits_to_keep=logits)

        assert flops == rows * pricer.executed_prefill(0, tokens, logits)
        assert flops == pricer.executed(rows * tokens, rows * tokens * tokens, rows * logits)


@pytest.mark.parametrize("name", CONFIGS)
def test_decoding_needs_and_executes_exactly_what_torch_counts(name: str) -> None:
    """Within the window, where a model has one: past it, kernels over whole rows multiply more than is needed."""
    model, pricer = build(name), Pricer(shape_from_config(CONFIGS[name]))
    prompt, new = 4, 3
    _, output = counted(model, torch.randint(3, 131, (1, prompt)), use_cache=True)
    total = 0
    for _ in range(new):
        flops, output = counted(
            model, torch.randint(3, 131, (1, 1)), use_cache=True, past_key_values=output.past_key_values
        )
        total += flops

    assert total == pricer.decode(prompt, new) == pricer.executed_decode(prompt, new)


def test_a_prefill_after_cached_tokens_executes_exactly_what_torch_counts() -> None:
    model, pricer = build("qwen2"), Pricer(shape_from_config(CONFIGS["qwen2"]))
    _, output = counted(model, torch.randint(3, 131, (1, 11)), use_cache=True)
    cache = output.past_key_values
    flops, _ = counted(model, torch.randint(3, 131, (1, 6)), use_cache=True, past_key_values=cache, logits_to_keep=1)

    assert flops == pricer.executed_prefill(11, 6, 1)


@pytest.mark.parametrize("name", ["llama", "mistral, window", "gemma3_text"])
def test_needed_context_is_what_the_real_masks_leave(name: str) -> None:
    """Every attention weight that is not masked is positive, so the positive ones are the query-key pairs needed."""
    model, shape, tokens = build(name), shape_from_config(CONFIGS[name]), 19
    with torch.no_grad():
        output = model(torch.randint(3, 131, (1, tokens)), use_cache=False, output_attentions=True)
    pairs = sum(int((layer[0, 0] > 0).sum()) for layer in output.attentions)

    assert pairs == sum(attended_keys(0, tokens, window) for window in shape.windows)
    pricer = Pricer(shape)
    without_attention = tokens * pricer.flops_per_token + pricer.flops_per_logits
    assert pricer.prefill(0, tokens, 1) - without_attention == 4 * shape.query_width * pairs


counts = st.integers(0, 60)
names = st.sampled_from(sorted(CONFIGS))


@given(counts, counts, st.none() | st.integers(1, 40))
def test_attended_keys_is_the_sum_over_tokens(start: int, tokens: int, window: int | None) -> None:
    by_token = [p + 1 if window is None else min(p + 1, window) for p in range(start, start + tokens)]

    assert attended_keys(start, tokens, window) == sum(by_token)


@given(names, counts, counts, counts)
def test_work_may_be_cut_anywhere(name: str, start: int, first: int, second: int) -> None:
    """What is needed does not depend on how it is cut into forwards; neither do the keys that decoding reads."""
    pricer = Pricer(shape_from_config(CONFIGS[name]))
    whole = pricer.decode_cost(start, first + second)
    parts = pricer.decode_cost(start, first) + pricer.decode_cost(start + first, second)

    assert whole == parts
    assert pricer.needed(start, first + second, 1 if second else 0) == pricer.needed(start, first, 0) + pricer.needed(
        start + first, second, 1 if second else 0
    )


@given(names, counts, st.integers(1, 60))
def test_executed_is_never_less_than_needed(name: str, start: int, tokens: int) -> None:
    pricer = Pricer(shape_from_config(CONFIGS[name]))

    assert pricer.executed_prefill(start, tokens, 1) >= pricer.prefill(start, tokens, 1)
    assert pricer.executed_decode(start, tokens) >= pricer.decode(start, tokens)
    if set(pricer.shape.windows) == {None}:
        assert pricer.executed_decode(start, tokens) == pricer.decode(start, tokens)


@given(names, st.integers(1, 500), st.integers(0, 3))
def test_a_forward_reads_no_weight_twice(name: str, tokens: int, logits: int) -> None:
    pricer = Pricer(shape_from_config(CONFIGS[name]))
    read = pricer.weight_bytes(tokens, logits)

    assert read <= pricer.shape.weight_bytes
    assert read <= pricer.weight_bytes(tokens + 1, logits)
    if tokens >= 131 and logits:  # every embedding row, every expert, every position
        assert read == pricer.shape.weight_bytes


def test_weights_read_by_one_token_are_the_active_ones() -> None:
    shape = shape_from_config(CONFIGS["mixtral"])
    other_embedding_rows = (shape.vocab_size - 1) * shape.hidden_size

    assert Pricer(shape).weight_bytes(1, 1) == (shape.active_parameters - other_embedding_rows) * 4


def test_rows_of_one_forward_share_its_weights() -> None:
    pricer = Pricer(shape_from_config(CONFIGS["llama"]))
    alone, of_sixteen = pricer.decode_cost(10, 5), pricer.decode_cost(10, 5, rows=16)

    assert of_sixteen.weight_bytes == -(-5 * pricer.weight_bytes(16, 16) // 16)
    assert of_sixteen.weight_bytes < alone.weight_bytes / 12
    assert (of_sixteen.flops, of_sixteen.kv_read_bytes) == (alone.flops, alone.kv_read_bytes)


def test_a_window_bounds_the_keys_that_are_read() -> None:
    window, full = (Pricer(shape_from_config(CONFIGS[name])) for name in ("mistral, window", "mistral"))
    per_token = full.kv_bytes_per_token

    assert full.kv_bytes_read_by_prefill(100, 5) == 105 * per_token
    assert window.kv_bytes_read_by_prefill(100, 5) == (5 + 7 - 1) * per_token
    assert full.kv_bytes_read_by_decode(100, 2) == (101 + 102) * per_token
    assert window.kv_bytes_read_by_decode(100, 2) == (7 + 7) * per_token


def test_costs_name_what_was_done() -> None:
    pricer = Pricer(shape_from_config(CONFIGS["llama"]))
    prompt, again, answer = (
        pricer.prefill_cost(0, 12),
        pricer.prefill_cost(4, 8, logits=0, recomputed=True),
        pricer.decode_cost(12, 5),
    )

    assert (prompt.prompt_tokens, prompt.recomputed_tokens, prompt.cached_tokens, prompt.new_tokens) == (12, 0, 0, 0)
    assert (again.prompt_tokens, again.recomputed_tokens, again.cached_tokens) == (0, 8, 4)
    assert (answer.serial_forwards, prompt.serial_forwards) == (5, 1)
    assert answer.tokens == 0  # a forward is not a token: six new ones took the prefill and these five forwards
    assert (prompt + answer).flops == pricer.prefill(0, 12) + pricer.decode(12, 5)
    assert pricer.prefill_cost(12, 0, 0).serial_forwards == 0


def test_encoding_a_prefix_anew_is_what_sharing_saves() -> None:
    """Ten children of one prefix: alone each encodes the prefix; shared, it is encoded once."""
    pricer = Pricer(shape_from_config(CONFIGS["qwen2"]))
    naive = 10 * pricer.from_scratch(50, 8)
    shared = pricer.prefill(0, 50, 1) + 10 * pricer.decode(50, 7)

    assert naive - shared == 9 * pricer.prefill(0, 50, 1)
    assert pricer.from_scratch(50, 0) == pricer.prefill(0, 50, 0)


@pytest.mark.parametrize(("start", "tokens", "logits"), [(-1, 2, 0), (0, -2, 0), (0, 2, 3), (0, 2, -1)])
def test_impossible_work_has_no_price(start: int, tokens: int, logits: int) -> None:
    with pytest.raises(SpecError, match=f"cannot price start={start}, tokens={tokens}, logits={logits}"):
        Pricer(shape_from_config(CONFIGS["llama"])).prefill(start, tokens, logits)


def test_mistral_7b_costs_what_is_known_of_it() -> None:
    shape = shape_from_config(MISTRAL_7B)
    pricer = Pricer(shape)

    assert shape.parameters == 7_241_732_096  # what its checkpoint holds
    assert pricer.flops_per_token / 1e9 == pytest.approx(13.96, abs=0.005)
    assert (pricer.flops_per_token + pricer.flops_per_logits) / 1e9 == pytest.approx(14.22, abs=0.005)
    assert pricer.flops_per_key / 1e6 == pytest.approx(0.524, abs=0.0005)
    assert pricer.decode(999, 1) == pricer.flops_per_token + pricer.flops_per_logits + 1000 * pricer.flops_per_key
    assert pricer.kv_bytes_per_token == 131_072


def test_an_estimate_is_a_generation_that_torch_counts() -> None:
    """`generate` forwards the prompt, then each new token but the last."""
    model, shape = build("llama"), shape_from_config(CONFIGS["llama"])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.generate(torch.randint(3, 131, (1, 1)), max_new_tokens=6, min_new_tokens=6, do_sample=False)

    # a prompt of one token leaves nothing that causality could save, so that needed is executed
    assert estimate(shape, prompt_tokens=1, new_tokens=6)["total_flops"] == counter.get_total_flops()


def test_an_estimate_adds_up() -> None:
    shape = shape_from_config(MISTRAL_7B)
    figures = estimate(shape, prompt_tokens=80, new_tokens=256)

    assert figures["total_flops"] == figures["prefill_flops"] + figures["decode_flops"]
    assert figures["decode_flops"] == Pricer(shape).decode(80, 255)
    assert figures["weight_bytes"] == 2 * figures["parameters"]
    assert estimate(shape, 80, 0)["total_flops"] == Pricer(shape).prefill(0, 80, 0)
    with pytest.raises(SpecError, match="prompt_tokens=0"):
        estimate(shape, 0, 5)


def test_the_explanation_names_every_factor() -> None:
    text = explain(shape_from_config(MISTRAL_7B), prompt_tokens=80, new_tokens=256)

    for part in ("4096 x 14336", "4096 x 1024 key, value", "14.22 GFLOPs", "524.3 kFLOPs per token of context"):
        assert part in text
    assert "in 32 layers at most 4,096" in text
    experts = explain(shape_from_config({"model_type": "qwen2_moe"}), 10, 10)
    assert "4 active of 60 x 3 x 2048 x 1408 + 2048 x 60 router + 3 x 2048 x 5632 shared expert" in experts
    assert "active" not in text


def test_the_products_in_the_explanation_give_its_results() -> None:
    """The formula is not decoration: evaluating the text gives the number printed after it."""
    text = explain(shape_from_config(CONFIGS["qwen3_moe"]), 10, 10)
    lines = [line for line in text.splitlines() if " layers x " in line or "LM head" in line]

    assert len(lines) == 6  # cache, projections, experts, dense layer, LM head, attention
    for line in lines:
        left, right = line.rsplit(" = ", 1)[0], line.rsplit(" = ", 1)[1]
        if "bytes a token" in line:
            right, left = left.split(" bytes")[0].split()[-1], line.rsplit(" = ", 1)[1]
        value = eval(_arithmetic(left))
        assert right.startswith((format_flops(value), f"{value:,}")), line


def _arithmetic(text: str) -> str:
    text = re.sub(r"\((?:gate, up, down|up, down|key, value|2 query x key, 2 weight x value)\)", "", text)
    text = text.replace("active of 6", "").replace(" x ", "*")
    return re.sub(r"[^\d+*()]", "", text)


def test_the_worked_example_in_the_docs_is_computed() -> None:
    """docs/cost-model.md prints an explanation; it must be what the code prints."""
    text = (Path(__file__).parents[2] / "docs" / "cost-model.md").read_text(encoding="utf-8")
    page = text.replace("\n", " ")

    assert explain(shape_from_config(MISTRAL_7B), prompt_tokens=100, new_tokens=300) in text
    for figure in _figures_of_the_page():
        assert figure in page, figure


def _figures_of_the_page() -> list[str]:
    pricer = Pricer(shape_from_config(MISTRAL_7B))
    naive = 8 * sum(pricer.from_scratch(100 + 100 * step, 100) for step in range(3))
    ideal = pricer.prefill(0, 100, 1) + 8 * pricer.decode(100, 299)
    short, long = (pricer.executed_prefill(0, n) / pricer.prefill(0, n) - 1 for n in (100, 8000))
    answer, h100 = pricer.decode_cost(100, 299), find_device("h100")
    reading = roofline_seconds(0, answer.weight_bytes, h100)
    multiplying = roofline_seconds(answer.flops, 0, h100)
    per_token = pricer.flops_per_token + pricer.flops_per_logits
    return [
        f"{naive / 1e12:.1f} TFLOPs naive",
        f"{ideal / 1e12:.1f} TFLOPs ideal",
        f"{short:.1%} on a prompt".replace("%", " %"),
        f"by {long:.1%} on".replace("%", " %"),
        f"{answer.weight_bytes / 1e12:.2f} TB of weights",
        f"at least {reading:.2f} s on an H100 SXM, against {multiplying:.3f} s",
        f"{pricer.flops_per_key / 1e6:.3f} MFLOPs for every token of context",
        f"1,000 tokens of context add {1000 * pricer.flops_per_key / per_token:.1%}".replace("%", " %"),
    ]


def test_pricing_is_fast_enough_for_every_step() -> None:
    """The driver makes more than 20,000 steps a second; pricing one must be a small part of its 50 microseconds."""
    pricer = Pricer(shape_from_config(CONFIGS["gemma3_text"]))
    fastest = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for start in range(1000):
            pricer.decode_cost(start, 20)
        fastest = min(fastest, time.perf_counter() - began)

    assert fastest / 1000 < 25e-6
