"""The cached path against its naive twin and against itself, on several architectures with random weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from isoflop.errors import ModelError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar import model as model_file
from isoflop.quietstar.naive import naive_next_token

ARCHITECTURES = ("llama", "mistral_window", "qwen2", "gemma2", "gemma3")


def some_ids(length, seed=0):
    return torch.from_numpy(np.random.default_rng([seed, length]).integers(0, 380, length))


def assert_same(one, other, tolerance=1e-4):
    assert one.thoughts == other.thoughts
    assert one.weight == pytest.approx(other.weight, abs=tolerance)
    torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(one.base_logits, other.base_logits, rtol=0, atol=tolerance)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(ARCHITECTURES),
    n_ahead=st.sampled_from([2, 3, 4, 5, 8, 12]),
    length=st.integers(1, 30),
    seed=st.integers(0, 5),
)
def test_cached_equals_naive(thinking, name, n_ahead, length, seed):
    """Windows of 12 are shorter than most of these sequences."""
    model, ids = thinking(name, n_ahead), some_ids(length, seed)

    cached = model.next_token(ids, thoughts=seed)

    assert_same(cached, naive_next_token(model, ids, thoughts=seed))
    assert len(cached.thoughts) == max(0, n_ahead - 3)
    assert (cached.logits - cached.base_logits).abs().max() > 1e-3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_base_logits_are_the_plain_models_and_the_plain_model_stays_usable(thinking, name):
    model, ids = thinking(name), some_ids(20)
    model.base.set_attn_implementation("eager")
    plain = model.base(ids[None]).logits[0, -1]
    model = ThoughtModel(model.base, model.thought_parameters, model.config)

    torch.testing.assert_close(model.next_token(ids).base_logits, plain, rtol=0, atol=1e-4)
    torch.testing.assert_close(model.base(ids[None]).logits[0, -1], plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_ahead", [2, 3, 6])
@pytest.mark.parametrize("name", ["mistral_window", "qwen2", "gemma3"])
def test_every_position_is_as_the_newest_of_its_prefix(thinking, name, n_ahead):
    model, ids = thinking(name, n_ahead), some_ids(17)
    noise = torch.from_numpy(np.random.default_rng(3).gumbel(size=(max(0, n_ahead - 3), 384)))

    everywhere = model.all_positions(ids, thoughts=noise)

    assert everywhere.weights.shape == (17, n_ahead - 1)
    for position in (0, 11, 16):
        here = model.next_token(ids[: position + 1], thoughts=noise)
        assert here.thoughts == everywhere.thoughts[position].tolist()
        assert here.weight == pytest.approx(everywhere.weights[position, -1].item(), abs=1e-4)
        torch.testing.assert_close(here.logits, everywhere.logits[position], rtol=0, atol=1e-4)


def test_padding_on_the_right_changes_nothing(thinking):
    model, short, long = thinking("mistral_window"), some_ids(9), some_ids(16)
    ids = torch.stack([torch.cat([short, torch.zeros(7, dtype=torch.long)]), long])
    mask = torch.tensor([[1] * 9 + [0] * 7, [1] * 16])

    both = model.all_positions(ids, attention_mask=mask)

    for row, alone in enumerate((short, long)):
        expected = model.all_positions(alone)
        assert both.thoughts[row, : len(alone)].tolist() == expected.thoughts.tolist()
        torch.testing.assert_close(both.logits[row, : len(alone)], expected.logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2", "mistral_window", "gemma3"])
def test_a_session_equals_starting_anew_at_every_step(thinking, name, monkeypatch):
    """The prompt is longer than a chunk, a window and a thought; the thought of each step must be gone at the next."""
    monkeypatch.setattr(model_file, "PROMPT_CHUNK", 8)
    model, ids = thinking(name), some_ids(21).tolist()
    session, new = model.session(), ids
    for step in range(4):
        out = session.next_token(new, thoughts=step)

        assert session.tokens == len(ids)
        assert_same(out, naive_next_token(model, ids, thoughts=step))
        new = [int(out.logits[:380].argmax())]
        ids = ids + new


def test_a_thought_leaves_no_trace(thinking):
    model, ids = thinking("llama"), some_ids(10)
    one, other = model.session(), model.session()
    first = [session.next_token(ids, thoughts=seed) for session, seed in ((one, 1), (other, 2))]
    second = [session.next_token([7], thoughts=3) for session in (one, other)]

    assert first[0].thoughts != first[1].thoughts
    assert torch.equal(second[0].logits, second[1].logits)


def test_ids_and_noise_may_be_lists_arrays_or_tensors(thinking):
    model, ids = thinking("qwen2"), some_ids(6)
    noise = np.random.default_rng(0).gumbel(size=(5, 384)).astype(np.float32)
    kinds = [(ids, torch.from_numpy(noise)), (ids.numpy(), noise), (ids.tolist(), noise), (ids.int(), noise.tolist())]

    outs = [model.next_token(one, thoughts=drawn) for one, drawn in kinds]

    assert all(torch.equal(out.logits, outs[0].logits) for out in outs)
    assert type(outs[0].weight) is float
    assert all(type(token) is int for token in outs[0].thoughts)


def test_a_seed_gives_the_same_thought_wherever_its_position_is_met(thinking):
    model, ids = thinking("qwen2"), some_ids(12)
    everywhere = model.all_positions(ids, thoughts=7).thoughts.tolist()
    session = model.session()

    assert [session.next_token([token], thoughts=7).thoughts for token in ids.tolist()] == everywhere
    assert model.all_positions(ids, thoughts=8).thoughts.tolist() != everywhere


def test_seeded_thoughts_are_draws_at_temperature_one(thinking):
    model, ids = thinking("llama", 4), some_ids(5)
    parameters = model.thought_parameters
    prefix = torch.cat([model.embed(ids), parameters.start[None]])[None]
    logits = model.thought_logits(model.base.get_decoder()(inputs_embeds=prefix).last_hidden_state[0, -1])
    shares = (logits.double() / 1).softmax(-1).detach().numpy()
    likely = np.argsort(-shares)[:8]
    choose = [model.choose(seed) for seed in range(4000)]
    drawn = np.array([int(rule(0, logits[None, None].detach(), torch.tensor([[4]]))) for rule in choose])
    counts = [(drawn == token).sum() for token in likely]

    observed = np.array([*counts, len(drawn) - sum(counts)])
    expected = np.array([*shares[likely], 1 - shares[likely].sum()]) * len(drawn)
    assert chisquare(observed, expected).pvalue > 1e-3
    assert model.next_token(ids, thoughts=11).thoughts == [drawn[11]]


def test_thought_ids_are_never_thought(thinking, on_a_plain_model):
    base = copy.deepcopy(thinking("llama").base)
    model = on_a_plain_model(base, 8)
    ids = some_ids(8)
    hidden = model.base.get_decoder()(ids[None]).last_hidden_state[0]
    with torch.no_grad():
        base.get_output_embeddings().weight[[382, 383]] = 50 * hidden.mean(0)

    assert set(model.all_positions(ids).thoughts.flatten().tolist()).isdisjoint({382, 383})
    assert model.next_token(ids).logits[[382, 383]].isfinite().all()  # they are not masked in what is returned


def test_untrained_thoughts_compute_what_the_plain_model_does(thinking):
    base, ids = thinking("qwen2").base, some_ids(9)
    model = ThoughtModel.put_on(base, n_ahead=5, start_token_id=17)
    out = model.next_token(ids)

    assert out.weight == 0
    assert torch.equal(out.logits, out.base_logits)
    torch.testing.assert_close(model.thought_parameters.end, model.embed(torch.tensor(17)))


def test_bfloat16_agrees_with_its_own_naive_twin(thinking):
    """Summation order differs: a root mean square of 5% of the logits' spread, given the thoughts."""
    for name in ("qwen2", "mistral_window"):
        exact, rounded, ids = thinking(name), thinking(name, dtype="bfloat16"), some_ids(20)
        given_tokens = exact.next_token(ids).thoughts
        cached, naive = rounded.next_token(ids, given_tokens), naive_next_token(rounded, ids, given_tokens)

        assert cached.thoughts == naive.thoughts == given_tokens
        assert (cached.logits - naive.logits).pow(2).mean().sqrt() < 0.05 * naive.logits.std()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "at least one id"),
        ([5, 384], "384 is outside the vocabulary; allowed: 0 to 383"),
        ([-1, 5], "-1 is outside"),
        ([5, 6, 382, 7], "thought id 382 stands in the prompt, at position 2"),
        ([0.5], "whole numbers"),
        ([[5, 6]], "no sequence"),
    ],
)
def test_prompts_that_are_refused(thinking, ids, message):
    with pytest.raises(ModelError, match=message):
        thinking("llama").next_token(ids)


@pytest.mark.parametrize(
    ("thoughts", "message"),
    [
        ("beam", "'beam' is unknown; allowed: 'greedy', a seed"),
        (np.zeros((4, 384), np.float32), r"shape \[4, 384\] does not fit; allowed: .*noise \[5, 384\]"),
        (np.zeros((5, 380), np.float32), r"shape \[5, 380\] does not fit"),
        (np.full((5, 384), np.nan), "NaN"),
        ([1, 2, 3], r"shape \[3\] do not fit"),
        ([1, 2, 3, 4, 999], "outside the vocabulary"),
        (-1, "no seed"),
    ],
)
def test_thoughts_that_are_refused(thinking, thoughts, message):
    with pytest.raises(ModelError, match=message):
        thinking("llama").next_token([5, 6], thoughts=thoughts)
