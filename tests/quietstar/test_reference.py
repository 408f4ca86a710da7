"""Against what the public reference computed: logits, thoughts, weights, generations, losses and gradients.

The files are no part of the repository; where they are absent these tests are skipped, and the naive twin
(test_model.py, test_loss.py) is the oracle that remains.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.loss import faithful_losses
from isoflop.quietstar.naive import naive_next_token, naive_roll_out
from isoflop.quietstar.rollout import roll_out

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "quietstar"
FOLDERS = sorted(path.parent for path in FIXTURES.glob("*/expected.npz"))
TRAINING = sorted(path.parent for path in FIXTURES.glob("*/train.npz"))
pytestmark = pytest.mark.skipif(not FOLDERS, reason=f"no reference files under {FIXTURES}")
VECTORS, THOUGHTS = ("learned", "dash"), ("greedy", "sampled")


def arrays(path: Path) -> dict[str, Any]:
    """All arrays of a file, which is then closed."""
    with np.load(path) as file:
        return dict(file)


@cache
def load(folder: Path, n_ahead: int, vectors: str, dash_token_id: int, dtype: str) -> ThoughtModel:
    """Each model once for all tests."""
    return ThoughtModel.load(folder, n_ahead, vectors, dash_token_id=dash_token_id, dtype=dtype)


class Reference:
    """One folder of ground truth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = json.loads((folder / "meta.json").read_text())
        self.inputs, self.expected = arrays(folder / "inputs.npz"), arrays(folder / "expected.npz")
        self.tolerance = self.meta["tolerance_max_abs"]

    def model(self, vectors: str = "learned", dtype: str = "auto") -> ThoughtModel:
        return load(self.folder, self.meta["n_ahead"], vectors, self.meta["dash_token_id"], dtype)

    def noise(self, thoughts: str, key: str) -> Any:
        return "greedy" if thoughts == "greedy" else self.inputs[key]

    def close(self, value: torch.Tensor, key: str) -> None:
        np.testing.assert_allclose(value.numpy(), self.expected[key], rtol=0, atol=self.tolerance, err_msg=key)


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_next_token_is_the_references(folder: Path, vectors: str) -> None:
    reference = Reference(folder)
    model = reference.model(vectors)
    for length in reference.inputs["lengths"]:
        for thoughts in THOUGHTS:
            out = model.next_token(
                reference.inputs[f"ids_L{length}"], thoughts=reference.noise(thoughts, f"noise_L{length}")
            )

            prefix = f"{vectors}_{thoughts}"
            assert out.thoughts == reference.expected[f"{prefix}_thoughts_L{length}"].tolist()
            assert out.weight == pytest.approx(reference.expected[f"{prefix}_w_L{length}"][-1], abs=reference.tolerance)
            reference.close(out.logits, f"{prefix}_logits_L{length}")
            reference.close(out.base_logits, f"{prefix}_base_logits_L{length}")


@pytest.mark.parametrize("thoughts", THOUGHTS)
@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_sixteen_tokens_on_one_cache_are_the_references(folder: Path, vectors: str, thoughts: str) -> None:
    reference = Reference(folder)
    session, new, prefix = reference.model(vectors).session(), reference.inputs["gen_prompt"], f"{vectors}_{thoughts}"
    noise, expected = reference.inputs["gen_noise"], reference.expected
    for step, token in enumerate(expected[f"{prefix}_gen_tokens"]):
        out = session.next_token(new, "greedy" if thoughts == "greedy" else noise[step])

        assert out.thoughts == expected[f"{prefix}_gen_thoughts"][step].tolist()
        np.testing.assert_allclose(out.logits, expected[f"{prefix}_gen_logits"][step], rtol=0, atol=reference.tolerance)
        new = [int(out.logits[: reference.meta["base_vocab_size"]].argmax())]
        assert new == [token]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_all_positions_are_the_references(folder: Path) -> None:
    reference = Reference(folder)
    if "learned_greedy_allpos_logits_L12" not in reference.expected:
        pytest.skip("this folder has no logits of all positions")
    out = reference.model().all_positions(reference.inputs["ids_L12"])

    np.testing.assert_array_equal(out.thoughts, reference.expected["learned_greedy_allpos_thoughts_L12"])
    reference.close(out.logits, "learned_greedy_allpos_logits_L12")
    reference.close(out.weights, "learned_greedy_allpos_w_L12")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_naive_twin_is_the_reference_too(folder: Path) -> None:
    reference = Reference(folder)
    length = int(reference.inputs["lengths"][-2])
    out = naive_next_token(reference.model(), reference.inputs[f"ids_L{length}"])

    assert out.thoughts == reference.expected[f"learned_greedy_thoughts_L{length}"].tolist()
    reference.close(out.logits, f"learned_greedy_logits_L{length}")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_in_bfloat16_the_same_thoughts_give_nearly_the_same_logits(folder: Path) -> None:
    """Bfloat16 has 8 bits: the root mean square error stays under 5% of the logits' spread, given the thoughts."""
    reference = Reference(folder)
    exact, rounded = reference.model(), reference.model(dtype="bfloat16")
    for length in reference.inputs["lengths"]:
        ids = reference.inputs[f"ids_L{length}"]
        out = exact.next_token(ids)
        half = rounded.next_token(ids, thoughts=np.array(out.thoughts))

        assert half.logits.dtype is torch.float32
        assert half.thoughts == out.thoughts
        assert (half.logits - out.logits).pow(2).mean().sqrt() < 0.05 * out.logits.std()


@pytest.mark.parametrize("run", [roll_out, naive_roll_out])
@pytest.mark.parametrize("folder", TRAINING, ids=lambda path: path.name)
def test_losses_and_gradients_are_the_references(folder: Path, run: Any) -> None:
    truth = arrays(folder / "train.npz")
    passes, talk = int(truth["n_passes"]), int(truth["n_ahead_talk"])
    model = ThoughtModel.load(folder, n_ahead=int(truth["n_ahead"])).requires_grad_(True)
    ids, real = (torch.from_numpy(truth[key]) for key in ("ids", "attention_mask"))
    thoughts = torch.from_numpy(truth["thoughts"]).unflatten(0, (-1, passes))
    losses = faithful_losses(model, run(model, ids, real, thoughts, talk=talk))

    found = {
        "total_loss": losses.total,
        "nll_only_loss": losses.nll,
        "policy_loss_unscaled": losses.policy,
        "policy_reward_mean": losses.reward_mean,
    }
    for key, value in found.items():
        assert value.item() == pytest.approx(float(truth[key]), rel=1e-5), key
    np.testing.assert_allclose(losses.talk_K.detach(), truth["step_loss"][-talk:], rtol=1e-5)
    assert losses.base.item() == pytest.approx(float(truth["step_loss"][0]), rel=1e-5)
    for kind, loss in (("total", losses.total), ("nll_only", losses.nll)):
        model.zero_grad()
        loss.backward(retain_graph=True)
        compare_gradients(model, truth, kind)


def compare_gradients(model: ThoughtModel, truth: Any, kind: str) -> None:
    """Within 1e-4 of the largest entry, and so the norms."""
    named = dict(model.base.named_parameters()) | dict(model.thought_parameters.named_parameters())
    keys = [key for key in truth if key.startswith((f"{kind}_grad/", f"{kind}_gradnorm/"))]
    assert len(keys) > 20
    for key in keys:
        parameter, expected = named[key.partition("/")[2]], truth[key]
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found = gradient.norm().numpy() if "gradnorm" in key else gradient.numpy()
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()) + 1e-12, err_msg=key
        )
