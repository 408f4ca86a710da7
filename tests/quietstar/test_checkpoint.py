"""Loading and saving: the reference's names, our own folders, and everything that is refused with a reason."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from isoflop.errors import ModelError
from isoflop.quietstar import ThoughtModel

IDS = [5, 6, 7, 8, 9]
FLAGS = {"use_concat_talk_head": True, "use_shallow_talk": False, "merged_talk_heads": True}


@pytest.fixture
def reference_folder(thinking, tiny_models, tmp_path):
    """A checkpoint as the reference writes it: thought tensors among the model's own."""
    folder = tmp_path / "quietstar"
    shutil.copytree(tiny_models["mistral"], folder)
    parameters = thinking("mistral").thought_parameters.state_dict()
    tensors = load_file(folder / "model.safetensors") | {k: v.clone() for k, v in parameters.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    rewrite(folder, **FLAGS)
    return folder


def rewrite(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change(folder, **tensors):
    """Replace tensors, or drop those given as None."""
    path = folder / "model.safetensors"
    kept = load_file(path) | tensors
    save_file({name: value for name, value in kept.items() if value is not None}, path, {"format": "pt"})


def assert_close(one, other):
    """Equal up to summation order: kernels depend on where in memory a file was mapped."""
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_reference_names_are_read(reference_folder, thinking):
    loaded = ThoughtModel.load(reference_folder, n_ahead=8)

    assert loaded.config.thought_ids == (382, 383)
    assert_close(loaded.next_token(IDS).logits, thinking("mistral").next_token(IDS).logits)


def test_n_ahead_is_eight_unless_told(reference_folder):
    assert ThoughtModel.load(reference_folder).config.n_ahead == 8
    assert ThoughtModel.load(reference_folder, n_ahead=3).next_token(IDS).thoughts == []


def test_weights_in_several_files_and_in_pickles_are_read(reference_folder, tmp_path):
    expected = ThoughtModel.load(reference_folder).next_token(IDS).logits
    tensors = load_file(reference_folder / "model.safetensors")
    (reference_folder / "model.safetensors").unlink()
    torch.save(tensors, reference_folder / "pytorch_model.bin")
    assert_close(ThoughtModel.load(reference_folder).next_token(IDS).logits, expected)

    (reference_folder / "pytorch_model.bin").unlink()
    halves = {"model-1.safetensors": list(tensors)[::2], "model-2.safetensors": list(tensors)[1::2]}
    for file, names in halves.items():
        save_file({name: tensors[name] for name in names}, reference_folder / file, {"format": "pt"})
    weight_map = {name: file for file, names in halves.items() for name in names}
    index = {"metadata": {}, "weight_map": weight_map}
    (reference_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_close(ThoughtModel.load(reference_folder).next_token(IDS).logits, expected)


def test_dash_takes_the_embedding_of_three_dashes(reference_folder):
    from isoflop.runtime.loading import load_tokenizer

    first = load_tokenizer(str(reference_folder)).encode("---", add_special_tokens=False)[0]
    found = ThoughtModel.load(reference_folder, thought_vectors="dash")
    told = ThoughtModel.load(reference_folder, thought_vectors="dash", dash_token_id=first)
    other = ThoughtModel.load(reference_folder, thought_vectors="dash", dash_token_id=first + 1)

    row = found.embed(torch.tensor(first))
    torch.testing.assert_close(found.thought_parameters.start, row)
    torch.testing.assert_close(found.thought_parameters.end, row)
    assert torch.equal(found.next_token(IDS).logits, told.next_token(IDS).logits)
    assert not torch.equal(found.next_token(IDS).logits, other.next_token(IDS).logits)


def test_dash_without_a_tokenizer_asks_for_the_id(reference_folder):
    (reference_folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="give dash_token_id"):
        ThoughtModel.load(reference_folder, thought_vectors="dash")
    with pytest.raises(ModelError, match="dash_token_id=384 is outside"):
        ThoughtModel.load(reference_folder, thought_vectors="dash", dash_token_id=384)


@pytest.mark.parametrize("name", ["mistral_window", "qwen2", "gemma3"])
def test_a_saved_folder_loads_as_it_was_and_as_a_plain_model(thinking, name, tmp_path):
    model = thinking(name, 5)
    model.save(tmp_path / "saved")
    loaded = ThoughtModel.load(tmp_path / "saved")

    assert loaded.config == model.config
    assert_close(loaded.next_token(IDS).logits, model.next_token(IDS).logits)
    assert ThoughtModel.load(tmp_path / "saved", n_ahead=8).config.n_ahead == 8
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    logits = plain(torch.tensor([IDS])).logits[0, -1].detach()
    torch.testing.assert_close(logits, model.next_token(IDS).base_logits, rtol=0, atol=1e-4)


def test_saving_in_bfloat16_keeps_the_dtype(thinking, tmp_path):
    model = thinking("qwen2", dtype="bfloat16")
    model.save(tmp_path / "saved")
    loaded = ThoughtModel.load(tmp_path / "saved")

    assert loaded.thought_parameters.start.dtype is torch.bfloat16
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_code_in_a_checkpoint_is_never_executed(reference_folder, tmp_path):
    trap = tmp_path / "executed"
    (reference_folder / "trap.py").write_text(f"open({str(trap)!r}, 'w').close()\n")
    rewrite(reference_folder, auto_map={"AutoModelForCausalLM": "trap.Model", "AutoConfig": "trap.Config"})
    expected = ThoughtModel.load(reference_folder).next_token(IDS)

    assert expected.logits.isfinite().all()
    assert not trap.exists()


def test_a_plain_model_is_refused(tiny_llama_folder):
    with pytest.raises(ModelError, match=r"plain language model: it has no start_embedding.*put_on"):
        ThoughtModel.load(tiny_llama_folder, n_ahead=8)


def test_a_checkpoint_without_its_talk_head_is_refused(reference_folder):
    names = [f"talk_head.0.{part}" for part in ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight")]
    change(reference_folder, **dict.fromkeys(names))
    with pytest.raises(ModelError, match=r"no complete talk head of the released kind: missing \['talk_head.0.0.bias'"):
        ThoughtModel.load(reference_folder)


def test_a_talk_head_of_another_kind_is_refused(reference_folder):
    rewrite(reference_folder, use_shallow_talk=True)
    with pytest.raises(ModelError, match="supported is the released one: use_shallow_talk=False"):
        ThoughtModel.load(reference_folder)


def test_wrong_shapes_are_refused(reference_folder):
    change(reference_folder, start_embedding=torch.zeros(2, 31))
    with pytest.raises(ModelError, match=r"hidden size 32: start_embedding is \[2, 31\], must be \[2, 32\]"):
        ThoughtModel.load(reference_folder)


@pytest.mark.parametrize("n_ahead", [1, 0, -3, 2.5, True])
def test_n_ahead_below_two_is_refused(reference_folder, n_ahead):
    with pytest.raises(ModelError, match=f"n_ahead={n_ahead!r} leaves no thought"):
        ThoughtModel.load(reference_folder, n_ahead=n_ahead)


def test_unknown_vectors_are_refused(reference_folder):
    with pytest.raises(ModelError, match="'dashes' is unknown; did you mean 'dash'"):
        ThoughtModel.load(reference_folder, thought_vectors="dashes")


def test_missing_and_damaged_folders_are_refused(reference_folder, thinking, tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        ThoughtModel.load(tmp_path / "nowhere" / "at" / "all")
    (reference_folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"model.safetensors cannot be read"):
        ThoughtModel.load(reference_folder)
    thinking("qwen2").save(tmp_path / "ours")
    (tmp_path / "ours" / "thoughts.json").write_text("{}")
    with pytest.raises(ModelError, match=r"thoughts.json is damaged"):
        ThoughtModel.load(tmp_path / "ours")
