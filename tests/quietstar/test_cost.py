"""The cost formulas against what torch counts, and against the reference's published shape."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost, Ledger
from isoflop.cost.shape import shape_from_config
from isoflop.errors import ModelError, SpecError
from isoflop.quietstar.cost import ThoughtPricer, cached_flops, reference_flops
from isoflop.quietstar.naive import naive_next_token

QUIETSTAR_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "vocab_size": 32002,
}


def shape_of(model):
    return shape_from_config(model.base.config.to_dict())


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("n_ahead", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["llama", "mistral_window", "qwen2"])
def test_the_naive_twin_executes_the_references_formula(thinking, name, n_ahead):
    model = thinking(name, n_ahead)
    flops = counted(lambda: naive_next_token(model, torch.arange(23)))

    assert flops == pytest.approx(reference_flops(shape_of(model), n_ahead=n_ahead, context=23), rel=0.01)


@pytest.mark.parametrize("n_ahead", [2, 3, 4, 8, 12])
@pytest.mark.parametrize("name", ["llama", "mistral_window", "qwen2"])
def test_a_cached_token_executes_what_is_charged(thinking, name, n_ahead):
    """Torch does not count the products of a thought's first row with itself, 0.1% here: they are no matrix product."""
    model = thinking(name, n_ahead)
    session = model.session()
    session.next_token(torch.arange(22))
    flops = counted(lambda: session.next_token([5]))

    pricer = Pricer(shape_of(model))
    charged = pricer.decode_cost(22, 1).executed_flops
    charged += ThoughtPricer(pricer, n_ahead).cost(23).executed_flops
    assert flops == pytest.approx(charged, rel=0.005)


def test_mistral_7b_costs_what_the_reference_was_measured_at():
    shape = shape_from_config(QUIETSTAR_7B)
    plain, cached = Pricer(shape).decode(299, 1), cached_flops(shape, n_ahead=8, context=300)
    reference = reference_flops(shape, n_ahead=8, context=300)

    assert reference / 1e9 == pytest.approx(37_060, rel=0.001)
    assert cached / 1e9 == pytest.approx(114.6 + 0.26, rel=0.002)  # with the plain model's own logits
    assert cached / plain == pytest.approx(7.97, rel=0.005)
    assert cached * 300 < reference


def test_a_thought_is_charged_beside_the_plain_token():
    pricer = Pricer(shape_from_config(QUIETSTAR_7B))
    thought = ThoughtPricer(pricer, 8).cost(300)
    ledger = Ledger()
    ledger.charge("policy", pricer.decode_cost(299, 1) + Cost(new_tokens=1))
    ledger.charge("thought", thought)

    assert thought.new_tokens == thought.serial_forwards == 5
    assert ledger.by_role()["policy"].flops + thought.flops == cached_flops(pricer.shape, n_ahead=8, context=300)
    assert thought.weight_bytes == 5 * pricer.weight_bytes(1, 1)


def test_beyond_the_window_a_thought_costs_no_more():
    pricer = Pricer(shape_from_config(QUIETSTAR_7B))
    near, far = (ThoughtPricer(pricer, 8).cost(context) for context in (4096, 9000))

    assert far.flops == near.flops
    assert far.kv_read_bytes == near.kv_read_bytes
    assert far.executed_flops > near.executed_flops


def test_contexts_and_lengths_that_do_not_exist_are_refused():
    shape = shape_from_config(QUIETSTAR_7B)
    with pytest.raises(SpecError, match="context=0"):
        cached_flops(shape, n_ahead=8, context=0)
    with pytest.raises(ModelError, match="n_ahead=1"):
        reference_flops(shape, n_ahead=1, context=10)
