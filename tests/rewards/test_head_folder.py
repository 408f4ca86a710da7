"""The folder of a shared-trunk head: what is written is read, and what is no head is refused with the reason."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from isoflop.errors import ModelError
from isoflop.rewards.head_folder import Head, Standardised, load_head, log_prob_features, path_features, save_head
from isoflop.runtime.readout import load_readout

FEATURES = Standardised(torch.tensor([2.0, -1.0]), torch.tensor([-0.5, -2.0]), torch.tensor([0.25, 0.5]))


def head(features=None):
    torch.manual_seed(0)
    return Head(torch.randn(1, 8), torch.randn(1), "some/model", features)


@pytest.mark.parametrize("features", [None, FEATURES])
def test_what_is_saved_is_loaded(tmp_path, features):
    save_head(tmp_path / "head", head(features))
    found = load_head(tmp_path / "head")
    hidden_RD = torch.randn(5, 8)
    read = load_readout(str(tmp_path / "head"), hidden_size=8, model="some/model")(hidden_RD)
    assert torch.allclose(read, hidden_RD @ head().weight_1D.T + head().bias_1)
    assert (found.trunk, found.hidden_size) == ("some/model", 8)
    assert found.logit(0.5, (-1.0, -0.5)) == head(features).logit(0.5, (-1.0, -0.5))


def test_features_are_standardised_and_weighed():
    assert log_prob_features((-1.0, -0.5, -3.0)) == (-1.5, -3.0)
    assert head(FEATURES).logit(0.5, (-1.0, -0.5, -3.0)) == pytest.approx(0.5 + 2 * (-1 / 0.25) - (-1 / 0.5))
    assert head().logit(0.5, ()) == 0.5


def broken(place, how):
    save_head(place, head(FEATURES))
    tensors, config = load_file(place / "model.safetensors"), json.loads((place / "config.json").read_text())
    if how == "format":
        config["format"] = 9
    elif how == "bytes":
        (place / "model.safetensors").write_bytes(b"not tensors")
    elif how == "names":
        config["features"] = ["mean", "entropy"]
    elif how == "shape":
        tensors["bias"] = torch.zeros(2)
    elif how == "two":
        tensors |= {"weight": torch.zeros(2, 8), "bias": torch.zeros(2)}
    elif how == "deviation":
        tensors["feature_deviation"] = torch.zeros(2)
    if how != "bytes":
        save_file(tensors, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(config))
    return place


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("format", "does not describe a head: it holds format=1"),
        ("bytes", "cannot be read"),
        ("names", r"known are \['mean', 'min'\]"),
        ("shape", r"wanted weight \(K, 8\)"),
        ("two", "gives 2 numbers a step"),
        ("deviation", "must be above 0"),
    ],
)
def test_a_folder_that_is_no_head_is_refused(tmp_path, how, reason):
    with pytest.raises(ModelError, match=reason):
        load_head(broken(tmp_path, how))


def test_a_missing_folder_and_another_models_head_are_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no folder 'nowhere'"):
        load_head("nowhere")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_head(tmp_path)
    save_head(tmp_path, head())
    with pytest.raises(ModelError, match=r"of 8 numbers, those of 'some/model', and .* 'other/model' have 16"):
        load_readout(str(tmp_path), hidden_size=16, model="other/model")


def test_path_features_see_the_steps_before(tmp_path):
    weights = Standardised(torch.tensor([0.0, 0.0, 1.0, 10.0]), torch.zeros(4), torch.ones(4))
    save_head(tmp_path, head(weights))
    read = load_head(tmp_path)
    assert path_features((-1.0, -3.0), (-0.5, -4.0)) == (-2.0, -3.0, -8.5, -4.0)
    assert read.logit(0.5, (-1.0, -3.0), (-0.5, -4.0)) == pytest.approx(0.5 - 8.5 - 40)
    assert read.logit(0.5, (-1.0, -3.0)) == pytest.approx(0.5 - 4 - 30)
