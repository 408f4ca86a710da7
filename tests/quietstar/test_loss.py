"""The training step in one forward against the same step as separate passes, on models the reference never had."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoflop.errors import ModelError
from isoflop.quietstar.loss import faithful_losses
from isoflop.quietstar.naive import naive_roll_out
from isoflop.quietstar.rollout import roll_out

PASSES, TALK, LENGTH = 2, 3, 15


def batch(n_ahead, seed=0):
    random = np.random.default_rng(seed)
    ids = torch.from_numpy(random.integers(0, 380, (2, LENGTH)))
    real = torch.ones_like(ids)
    real[0, 10:] = 0
    thoughts = torch.from_numpy(random.integers(0, 380, (2, PASSES, LENGTH, max(0, n_ahead - 3))))
    return ids, real, thoughts


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("name", "n_ahead"), [("llama", 2), ("qwen2", 3), ("mistral_window", 4), ("llama", 6), ("qwen2", 6), ("gemma3", 6)]
)
def test_one_forward_equals_separate_passes(thinking, name, n_ahead):
    model = thinking(name, n_ahead).requires_grad_(True)
    found = {}
    for run in (roll_out, naive_roll_out):
        losses = faithful_losses(model, run(model, *batch(n_ahead), talk=TALK))
        found[run] = (losses.total.item(), losses.nll.item(), gradients(model, losses.total))
    (total, nll, one), (naive_total, naive_nll, separate) = found[roll_out], found[naive_roll_out]

    assert total == pytest.approx(naive_total, rel=1e-5)
    assert nll == pytest.approx(naive_nll, rel=1e-5)
    assert one.keys() == separate.keys()
    for key, gradient in one.items():
        largest = separate[key].abs().max().item()
        torch.testing.assert_close(gradient, separate[key], rtol=0, atol=1e-4 * largest + 1e-9, msg=key)


def test_without_sampled_tokens_there_is_no_policy_term(thinking):
    model = thinking("llama", 3)
    losses = faithful_losses(model, roll_out(model, *batch(3), talk=TALK))

    assert losses.policy.item() == 0
    assert losses.total.item() == losses.nll.item()


def test_the_likelihood_of_a_thought_is_what_next_token_gives(thinking):
    """With one token predicted after the thought, the talk loss is the cross-entropy of the mixed logits."""
    model = thinking("qwen2", 6)
    ids, real, thoughts = batch(6)
    ids, real, thoughts = ids[1:, :7], real[1:, :7], thoughts[1:, :, :7]  # the row without padding
    losses = faithful_losses(model, roll_out(model, ids, real, thoughts, talk=1))

    expected = []
    for thought in thoughts[0]:
        for position in range(6):
            out = model.next_token(ids[0, : position + 1], thoughts=thought[position].tolist())
            expected.append(-out.logits.log_softmax(-1)[ids[0, position + 1]].item())
    assert losses.talk_K.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_branches_at_some_anchors_are_those_of_all_positions(thinking):
    model = thinking("mistral_window", 6)
    ids, real, thoughts = batch(6)
    anchors = torch.tensor([[0, 4, 13], [2, 3, 9]])
    everywhere = roll_out(model, ids, real, thoughts, talk=TALK)
    wanted = thoughts.gather(2, anchors[:, None, :, None].expand(-1, PASSES, -1, 3))
    some = roll_out(model, ids, real, wanted, talk=TALK, anchors_BA=anchors)

    for row, at in enumerate(anchors):
        for name in ("talk_BKPAH", "thought_BGPAH"):
            found, expected = getattr(some, name)[row], getattr(everywhere, name)[row][..., at, :]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_policy_and_likelihood_train_different_parts(thinking):
    """The reference's accident: thoughts' rewards reach neither the talk head nor the end vector."""
    model = thinking("llama", 6).requires_grad_(True)
    losses = faithful_losses(model, roll_out(model, *batch(6), talk=TALK))
    trained = gradients(model, losses.policy)

    assert not any("talk_head" in name or "end_embedding" in name for name in trained if trained[name].abs().max() > 0)
    assert trained["thought_parameters.start_embedding"][0].abs().max() > 0
    assert trained["thought_parameters.start_embedding"][1].abs().max() == 0


def test_shapes_that_do_not_belong_together_are_refused(thinking):
    model = thinking("llama", 6)
    ids, real, thoughts = batch(6)
    with pytest.raises(ModelError, match=r"shape \[2, 2, 15, 2\], must be \[2, any, 15, 3\]"):
        roll_out(model, ids, real, thoughts[..., :2], talk=TALK)
    with pytest.raises(ModelError, match="thoughts hold the id 383"):
        roll_out(model, ids, real, thoughts.clone().fill_(383), talk=TALK)
    with pytest.raises(ModelError, match="talk=0"):
        roll_out(model, ids, real, thoughts, talk=0)
