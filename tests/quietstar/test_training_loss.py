"""The mended objective against plain loops, and the step that draws its thoughts against the step given them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoflop.quietstar.loss import corrected_losses, faithful_losses, leave_one_out, thought_log_shares
from isoflop.quietstar.naive import naive_roll_out
from isoflop.quietstar.rollout import draw_and_roll_out, roll_out

LENGTH, THOUGHTS, TALK = 13, 3, 3


def batch(n_ahead, seed=0):
    random = np.random.default_rng(seed)
    ids = torch.from_numpy(random.integers(0, 380, (2, LENGTH)))
    real = torch.ones_like(ids)
    real[0, 9:] = 0
    return ids, real, torch.from_numpy(random.integers(0, 380, (2, THOUGHTS, LENGTH, max(0, n_ahead - 3))))


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def norm(found):
    return torch.cat([gradient.flatten() for gradient in found.values()]).norm().item()


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        largest = expected[key].abs().max().item()
        torch.testing.assert_close(gradient, expected[key], rtol=0, atol=1e-4 * largest + 1e-9, msg=key)


@pytest.mark.parametrize(("name", "n_ahead"), [("llama", 2), ("qwen2", 3), ("mistral_window", 6), ("gemma3", 5)])
def test_drawing_on_the_way_equals_separate_passes(thinking, name, n_ahead):
    """The same tokens, drawn one forward after the other, given to one forward, and passed through separately."""
    model = thinking(name, n_ahead).requires_grad_(True)
    ids, real, thoughts = batch(n_ahead)
    runs = [
        draw_and_roll_out(model, ids, real, lambda k, _: thoughts[..., k].flatten(1), thoughts=THOUGHTS, talk=TALK),
        roll_out(model, ids, real, thoughts, talk=TALK),
        naive_roll_out(model, ids, real, thoughts, talk=TALK),
    ]
    for objective in (faithful_losses, corrected_losses):
        *ours, naive = [objective(model, run) for run in runs]
        for losses in ours:
            assert losses.total.item() == pytest.approx(naive.total.item(), rel=1e-5)
            assert losses.nll.item() == pytest.approx(naive.nll.item(), rel=1e-5)


def test_gradients_of_the_drawn_step_are_those_of_separate_passes(thinking):
    model = thinking("mistral_window", 6).requires_grad_(True)
    ids, real, thoughts = batch(6)
    drawn = draw_and_roll_out(model, ids, real, lambda k, _: thoughts[..., k].flatten(1), thoughts=THOUGHTS, talk=TALK)
    found = gradients(model, corrected_losses(model, drawn).total)
    naive = naive_roll_out(model, ids, real, thoughts, talk=TALK)

    assert_same_gradients(found, gradients(model, corrected_losses(model, naive).total))


def test_the_corrected_loss_is_the_plain_loop(thinking):
    model = thinking("qwen2", 5)
    ids, real, thoughts = batch(5)
    temperature = 1.7
    with torch.no_grad():
        rollout = roll_out(model, ids, real, thoughts, talk=TALK)
        losses = corrected_losses(model, rollout, temperature=temperature)
        base = model.logits(rollout.visible_BSH).log_softmax(-1)
        scores = (model.thought_logits(rollout.thought_BGPAH) / temperature).log_softmax(-1)
    alone, talk, policy = [], [], []
    for b in range(2):
        last = int(real[b].sum()) - 1
        alone += [-base[b, i, ids[b, i + 1]].item() for i in range(last)]
        for i in range(LENGTH):
            steps = [s for s in range(TALK) if i + s < last]
            saved = []
            for p in range(THOUGHTS):
                losses_after = []
                for s in steps:
                    hidden = (rollout.visible_BSH[b, i + s], rollout.talk_BKPAH[b, s, p, i])
                    mixed, _ = model.thought_parameters.mix(*hidden)
                    losses_after.append(-model.logits(mixed).log_softmax(-1)[ids[b, i + s + 1]].item())
                talk += losses_after
                saved.append(
                    sum(-base[b, i + s, ids[b, i + s + 1]].item() - v for s, v in zip(steps, losses_after, strict=True))
                )
            for p in range(THOUGHTS):
                others = [saved[q] for q in range(THOUGHTS) if q != p]
                share = sum(scores[b, k, p, i, thoughts[b, p, i, k]].item() for k in range(2))
                policy.append(-(saved[p] - np.mean(others)) * share)

    assert losses.base.item() == pytest.approx(np.mean(alone), rel=1e-5)
    assert losses.nll.item() == pytest.approx(0.5 * np.mean(alone) + 0.5 * np.mean(talk), rel=1e-5)
    assert losses.policy.item() == pytest.approx(sum(policy) / len(talk), rel=1e-4)
    assert losses.total.item() == pytest.approx(losses.nll.item() + 0.5 * losses.policy.item(), rel=1e-5)


def test_the_terms_are_on_one_scale_where_the_reference_has_a_million(thinking):
    model = thinking("llama", 6).requires_grad_(True)
    ratios = {}
    for objective, scale in ((faithful_losses, 1e6), (corrected_losses, 0.5)):
        losses = objective(model, roll_out(model, *batch(6), talk=TALK))
        again = objective(model, roll_out(model, *batch(6), talk=TALK))
        ratios[objective] = scale * norm(gradients(model, again.policy)) / norm(gradients(model, losses.nll))

    assert ratios[faithful_losses] > 1e3
    assert 1e-2 < ratios[corrected_losses] < 1e2


def test_leave_one_out_is_the_mean_of_the_others():
    reward = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1)

    assert leave_one_out(reward).flatten().tolist() == pytest.approx([-3, -1.5, 4.5])
    assert leave_one_out(reward[:, :1]).item() == 1


def test_anchors_that_fill_up_a_row_change_nothing(thinking):
    model = thinking("llama", 5)
    ids, real, thoughts = batch(5)
    anchors = torch.tensor([[1, 4, 0], [2, 5, 0]])
    used = torch.tensor([[True, True, False]] * 2)
    for objective in (faithful_losses, corrected_losses):
        full = objective(
            model, roll_out(model, ids, real, thoughts[:, :, :3], talk=TALK, anchors_BA=anchors, used_BA=used)
        )
        short = objective(model, roll_out(model, ids, real, thoughts[:, :, :2], talk=TALK, anchors_BA=anchors[:, :2]))
        assert full.total.item() == pytest.approx(short.total.item(), rel=1e-5)


def test_forced_mixing_of_zero_is_the_plain_model(thinking):
    model = thinking("llama", 5)
    rollout = roll_out(model, *batch(5), talk=1)
    losses = corrected_losses(model, rollout, mixing=0)

    assert losses.talk_K.item() == pytest.approx(losses.base.item(), rel=1e-5)
    assert thought_log_shares(model, rollout, 1.0).shape == (2, THOUGHTS, LENGTH, 2)
