"""The runner: read-outs, refusals, groups of decoding rows, packed layers, slots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isoflop.errors import ModelError
from isoflop.runtime.attention import Block, Segment, group
from isoflop.runtime.loading import load_model
from isoflop.runtime.packed import PackedLinear, pack_linears
from isoflop.runtime.runner import Batch, Runner
from isoflop.runtime.slots import Slots

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runner(tiny_llama_folder: Path) -> Runner:
    return Runner(load_model(str(tiny_llama_folder)), slots=4, slot_tokens=64)


def test_read_outs_come_back_with_the_step(runner: Runner) -> None:
    batch = Batch.of_segments([Segment(0, 0, 5), Segment(1, 0, 3)], [[5, 6, 7, 8, 9], [5, 6, 7]])
    step = runner.step(batch, readouts=[lambda hidden: hidden.sum(-1), lambda hidden: hidden[:, 0]])
    assert torch.equal(step.readouts[0], step.hidden_RD.sum(-1))
    assert step.hidden_RD.shape[0] == step.readouts[1].shape[0] == 2
    inner = runner.step(batch, at=np.array([2, 7]))
    assert torch.allclose(inner.hidden_RD[0], inner.hidden_RD[1], atol=1e-5)  # the same three tokens


def test_thoughts_in_a_slots_front_are_those_behind_its_tokens(tiny_llama_folder: Path) -> None:
    """Two thoughts of one sequence in one forward, beside its newest token, against each one alone."""
    plain, fronted = (
        Runner(load_model(str(tiny_llama_folder)), slots=2, slot_tokens=16, front=front) for front in (0, 6)
    )
    sequence, thoughts = [5, 6, 7, 8, 9], {2: [20, 21], 3: [30, 31]}
    alone = {}
    for anchor, tokens in thoughts.items():
        begun = [*sequence[: anchor + 1], *tokens]
        whole = plain.step(Batch.of_segments([Segment(1, 0, len(begun))], [begun]), at=np.arange(anchor, len(begun)))
        alone[anchor] = whole.hidden_RD
    fronted.step(Batch.of_segments([Segment(1, 0, 4)], [sequence[:4]]))
    for depth in (0, 1):
        slots, anchors = np.array([1, 1]), np.array([2, 3])
        ids = np.array([thoughts[anchor][depth] for anchor in (2, 3)])
        behind = Block(slots, anchors + 1 + depth, ids, anchors, np.array([0, 3]))
        newest = np.array([1]), np.array([4]), np.array([sequence[4]])
        hidden_RD = fronted.step(Batch(*newest, behind=(behind,))).hidden_RD
        for row, anchor in enumerate((2, 3)):
            assert torch.allclose(hidden_RD[1 + row], alone[anchor][1 + depth], atol=1e-5)
    whole = plain.step(Batch.of_segments([Segment(0, 0, 5)], [sequence])).hidden_RD
    assert torch.allclose(hidden_RD[:1], whole, atol=1e-5)


def test_a_copied_slot_goes_on_as_its_source(runner: Runner) -> None:
    runner.step(Batch.of_segments([Segment(0, 0, 4)], [[5, 6, 7, 8]]))
    runner.slots.copy(source=0, targets=[2], tokens=4)
    both = runner.step(Batch(np.array([0, 2]), np.array([4, 4]), np.array([9, 9]))).hidden_RD
    assert torch.equal(both[0], both[1])


def test_models_that_do_not_use_the_attention_interface_are_refused(tiny_models: dict[str, Path]) -> None:
    model = load_model(str(tiny_models["llama"]))
    layer = model.model.layers[1].self_attn
    forward = layer.forward

    def own_attention(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("isoflop_layout", None)
        layer.config = type(layer.config)(**layer.config.to_dict())
        layer.config._attn_implementation = "eager"
        return forward(*args, **kwargs)

    layer.forward = own_attention
    with pytest.raises(ModelError, match="1 of its 2 layers use transformers' attention interface"):
        Runner(model, slots=1, slot_tokens=64)


def test_models_whose_logits_come_out_differently_are_refused(tiny_models: dict[str, Path]) -> None:
    model = load_model(str(tiny_models["llama"]))
    forward = model.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output

    model.forward = scaled
    with pytest.raises(ModelError, match="logits differ from transformers' own"):
        Runner(model, slots=1, slot_tokens=64)


def test_models_that_cache_something_else_are_refused() -> None:
    from transformers import AutoModelForCausalLM, DeepseekV2Config

    config = DeepseekV2Config(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        kv_lora_rank=16,
        q_lora_rank=None,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        first_k_dense_replace=1,
    )
    with pytest.raises(ModelError, match="caches something else than keys and values"):
        Runner(AutoModelForCausalLM.from_config(config), slots=1, slot_tokens=64)


def test_layers_of_unknown_kinds_are_refused(tiny_models: dict[str, Path]) -> None:
    model = load_model(str(tiny_models["llama"]))
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ModelError, match="layers of type linear_attention"):
        Runner(model, slots=1, slot_tokens=64)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 500)), max_size=40),
    wasted=st.integers(0, 3000),
)
def test_groups_hold_every_row_once_and_waste_no_more_than_allowed(rows: list[tuple[int, int]], wasted: int) -> None:
    """Slots with one row, and with several, which stay together."""
    rows.sort()
    slots = np.array([slot for slot, _ in rows], dtype=np.int64)
    lengths = np.array([length for _, length in rows], dtype=np.int64)
    groups = group(slots, lengths, CPU, wasted)
    assert [row for one in groups for row in range(one.first, one.last)] == list(range(len(rows)))
    assert sum(len(set(slots[one.first : one.last])) for one in groups) == len(set(slots))
    for one in groups:
        inside, own = lengths[one.first : one.last], slots[one.first : one.last]
        assert (one.low, one.high) == (own[0], own[-1] + 1)
        assert (one.longest, one.shortest) == (inside.max(), inside.min())
        assert one.rows == max(np.unique(own, return_counts=True)[1])
        places = (one.high - one.low) * one.rows
        assert places * one.longest - inside.sum() <= wasted or one.high - one.low == 1
        if one.holes is None:
            assert places == len(own)
        else:
            assert (one.holes.numpy() // one.rows + one.low).tolist() == own.tolist()
            assert len(set(one.holes.tolist())) == len(own)


@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_compute_what_plain_ones_do(bias: bool) -> None:
    plain = nn.Linear(96, 64, bias=bias, dtype=torch.bfloat16)
    model = nn.Sequential(plain, nn.Linear(64, 32))
    x = torch.randn((5, 96), dtype=torch.bfloat16)
    with torch.inference_mode():
        wanted = plain(x)
        pack_linears(model)
        assert torch.allclose(model[0](x).float(), wanted.float(), atol=2e-2, rtol=2e-2)
    assert isinstance(model[1], nn.Linear)  # float32 stays as it is
    assert isinstance(model[0], PackedLinear) or not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_slots_are_written_copied_and_wiped(dtype: torch.dtype) -> None:
    slots = Slots([(2, 4, 4)], count=3, tokens=8, dtype=dtype, device=CPU)
    keys, values = torch.randn((2, 2, 3, 4)).to(dtype)
    slots.write(0, torch.tensor([1, 1, 2]), torch.tensor([0, 1, 0]), keys, values)
    assert torch.equal(slots.keys_SKTD[0][1, :, :2], keys[:, :2])
    assert torch.equal(slots.values_SKTD[0][2, :, 0], values[:, 2])
    slots.copy(1, [0], 2)
    assert torch.equal(slots.keys_SKTD[0][0], slots.keys_SKTD[0][1])
    slots.clear(1)
    assert not slots.keys_SKTD[0][1].any()
    assert slots.keys_SKTD[0][0].any()
