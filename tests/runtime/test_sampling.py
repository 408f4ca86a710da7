"""Sampling: inversion against a plain oracle, truncation, exact probabilities, edges, broken rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from isoflop.runtime.sampling import sample, verify


def draw(
    logits: torch.Tensor,
    uniforms: list[float],
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    rows: list[int] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = len(uniforms)
    return sample(
        logits,
        np.array(rows if rows is not None else range(count)),
        np.full(count, temperature),
        np.full(count, top_p),
        np.full(count, top_k),
        np.array(uniforms),
    )


def cumulative(logits: torch.Tensor, temperature: float) -> np.ndarray:
    scores = logits.double().numpy() / temperature
    weights = np.exp(scores - scores.max())
    return np.cumsum(weights / weights.sum())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    vocab=st.sampled_from([1, 2, 7, 100, 513, 4096, 5001]),
    temperature=st.sampled_from([0.2, 0.7, 1.0, 3.0]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_inversion_agrees_with_the_plain_cumulative_sum(
    seed: int, vocab: int, temperature: float, uniform: float
) -> None:
    logits = torch.randn((1, vocab), generator=torch.Generator().manual_seed(seed)) * 3
    token = int(draw(logits, [uniform], temperature)[0][0])
    sums = cumulative(logits[0], temperature)
    before = sums[token - 1] if token else 0.0
    assert before - 1e-5 <= uniform <= sums[token] + 1e-5


def test_frequencies_are_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0] + [-30.0] * 996])
    uniforms = ((np.arange(4000) + 0.5) / 4000).tolist()
    tokens, _, _ = draw(logits, uniforms, rows=[0] * 4000)
    wanted = torch.softmax(logits[0], 0)[:4].numpy()
    assert np.allclose(np.bincount(tokens, minlength=4)[:4] / 4000, wanted, atol=1e-3)


def test_log_probabilities_are_of_the_whole_vocabulary_at_temperature_1() -> None:
    logits = torch.randn((5, 3000))
    tokens, logprobs, _ = draw(logits, [0.1, 0.3, 0.5, 0.7, 0.9], temperature=0.3, top_p=0.5, top_k=10)
    wanted = torch.log_softmax(logits.double(), -1)[torch.arange(5), torch.from_numpy(tokens)]
    assert np.allclose(logprobs, wanted.numpy(), atol=1e-5)


def test_temperature_0_takes_the_best() -> None:
    logits = torch.randn((4, 1000))
    assert draw(logits, [0.99] * 4, temperature=0)[0].tolist() == logits.argmax(-1).tolist()


def test_top_k_draws_from_the_k_best_alone() -> None:
    logits = torch.randn((1, 2000))
    best = set(logits[0].topk(5).indices.tolist())
    uniforms = np.linspace(0, 0.999999, 200).tolist()
    assert set(draw(logits, uniforms, top_k=5, rows=[0] * 200)[0].tolist()) == best


@pytest.mark.parametrize("spread", [5.0, 0.01])  # a nucleus of few tokens, and of most of the vocabulary
def test_top_p_draws_from_the_smallest_set_that_reaches_p(spread: float) -> None:
    logits = torch.randn((1, 2000), generator=torch.Generator().manual_seed(1)) * spread
    order = logits[0].argsort(descending=True)
    sums = torch.softmax(logits[0].double(), 0)[order].cumsum(0)
    nucleus = order[: int((sums < 0.9).sum()) + 1]
    uniforms = np.linspace(0, 1 - 1e-9, 8000).tolist()
    drawn = set(draw(logits, uniforms, top_p=0.9, rows=[0] * 8000)[0].tolist())
    assert drawn <= set(nucleus.tolist())
    assert int(nucleus[-1]) in drawn


def test_top_p_always_leaves_the_best() -> None:
    logits = torch.randn((3, 50))
    assert draw(logits, [0.0, 0.5, 0.99], top_p=1e-9)[0].tolist() == logits.argmax(-1).tolist()


def test_uniform_numbers_at_the_edge_never_draw_what_is_impossible() -> None:
    logits = torch.full((2, 1000), float("-inf"))
    logits[:, 300] = logits[:, 600] = 0.0
    assert draw(logits, [0.0, 1 - 2**-53])[0].tolist() == [300, 600]


def test_rows_with_broken_logits_are_told_apart() -> None:
    logits = torch.randn((3, 1000))
    logits[1, 5] = float("nan")
    tokens, _, broken = draw(logits, [0.5, 0.5, 0.5])
    assert broken.tolist() == [False, True, False]
    assert tokens[[0, 2]].tolist() == draw(logits[[0, 2]], [0.5, 0.5])[0].tolist()


def test_neighbours_change_nothing() -> None:
    logits = torch.randn((20, 5000))
    uniforms = torch.rand(20).tolist()
    together, logprobs, _ = draw(logits, uniforms)
    for row in range(20):
        alone, logprob, _ = draw(logits[row : row + 1], [uniforms[row]])
        assert (alone[0], logprob[0]) == (together[row], logprobs[row])


def test_mixed_rows_draw_each_by_its_own_rule() -> None:
    logits = torch.randn((1, 3000)) * 2
    rules = [(0.0, 1.0, 0), (1.0, 1.0, 0), (0.5, 0.9, 0), (1.0, 1.0, 3), (2.0, 0.8, 40)]
    temperature, top_p, top_k = (np.array(column) for column in zip(*rules, strict=True))
    mixed, _, _ = sample(logits, np.zeros(5, dtype=np.int64), temperature, top_p, top_k, np.full(5, 0.37))
    alone = [int(draw(logits, [0.37], *rule)[0][0]) for rule in rules]
    assert mixed.tolist() == alone


def judged(p_V: list[float], q_V: list[float], draws: int, **cut: float) -> tuple[np.ndarray, np.ndarray]:
    """Drafts from q, and what they become where p is wanted."""
    generator = np.random.default_rng(0)
    both = [torch.tensor(one).log().expand(draws, -1) for one in (q_V, p_V)]
    how = [np.full(draws, cut.get(name, default)) for name, default in HOW]
    drafts, _, _ = sample(both[0], np.arange(draws), *how, generator.random(draws))
    tokens, logprobs, broken = verify(drafts, *both, *how, generator.random(draws), generator.random(draws))
    assert not broken.any()
    assert np.exp(logprobs) == pytest.approx(np.array(p_V)[tokens], abs=1e-6)
    return drafts, tokens


HOW = [("temperature", 1.0), ("top_p", 1.0), ("top_k", 0)]
P, Q = [0.1, 0.4, 0.05, 0.3, 0.15], [0.3, 0.1, 0.2, 0.25, 0.15]


@pytest.mark.parametrize("cut", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.6}, {"top_k": 4, "top_p": 0.7}])
def test_judged_drafts_are_distributed_as_what_was_wanted(cut: dict[str, float]) -> None:
    draws = 20_000
    _, tokens = judged(P, Q, draws, **cut)
    generator = np.random.default_rng(1)
    how = [np.full(draws, cut.get(name, default)) for name, default in HOW]
    logits = torch.tensor(P).log().expand(draws, -1)
    direct, _, _ = sample(logits, np.arange(draws), *how, (np.arange(draws) + generator.random(draws)) / draws)
    seen, wanted = (np.bincount(one, minlength=5) for one in (tokens, direct))
    assert seen[wanted == 0].sum() == 0
    held = wanted > 0
    assert chisquare(seen[held], wanted[held]).pvalue > 1e-3


def test_a_draft_stays_as_often_as_the_distributions_overlap() -> None:
    drafts, tokens = judged(P, Q, 20_000)
    assert np.mean(drafts == tokens) == pytest.approx(np.minimum(P, Q).sum(), abs=0.015)
    drafts, tokens = judged(P, P, 2_000)
    assert (drafts == tokens).all()


def test_greedy_drafts_become_the_likeliest_and_broken_rows_are_told() -> None:
    wanted = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0], [float("nan"), 2.0, 1.0]])
    drafts, ones = np.array([0, 0, 1]), np.ones(3)
    how = np.array([0.0, 0.0, 1.0]), ones, np.zeros(3, dtype=np.int64), ones * 0.9, ones * 0.5
    tokens, _, broken = verify(drafts, torch.zeros((3, 3)), wanted, *how)
    assert tokens[:2].tolist() == [1, 0]
    assert broken.tolist() == [False, False, True]
