"""What a run can be besides the plain one: adapters, a frozen base, RLP's reward, a gate, shorter thoughts,
distillation, and controls that should not help."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from isoflop.errors import ModelError, SpecError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.checkpoint import has_thoughts
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.loop import train
from isoflop.quietstar.training.shorten import n_ahead_at


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder.parent / "log.jsonl").read_text().splitlines()]


def test_adapters_are_saved_as_an_ordinary_model_whose_untouched_weights_are_the_old_ones(settings):
    folder = train(replace(settings, lora_rank=2, base_rate=1e-2))
    before = AutoModelForCausalLM.from_pretrained(settings.model).state_dict()
    after = ThoughtModel.load(folder).base.state_dict()

    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name}
    rank = torch.linalg.matrix_rank(after[min(changed)] - before[min(changed)], atol=1e-5)
    assert 1 <= rank <= 2
    resumed = torch.load(folder / "resume.pt", weights_only=True)
    assert not [name for name in resumed["weights"] if "base" in name and ".lora_" not in name]


def test_adapters_in_a_bfloat16_base_compute_what_the_saved_folder_computes(settings, tiny_llama_folder, tmp_path):
    small = tmp_path / "bf16"
    AutoModelForCausalLM.from_pretrained(tiny_llama_folder, dtype=torch.bfloat16).save_pretrained(small)
    for file in tiny_llama_folder.glob("tokenizer*"):
        (small / file.name).write_bytes(file.read_bytes())
    folder = train(replace(settings, model=str(small), lora_rank=2, base_rate=1e-2, precision="bf16", steps=2))
    saved = ThoughtModel.load(folder)

    assert {tensor.dtype for tensor in saved.base.state_dict().values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in load_file(folder / "thoughts.safetensors").values()} == {torch.float32}


def test_a_frozen_base_is_kept_once_and_goes_on_after_a_checkpoint(settings):
    folder = train(replace(settings, base_rate=0.0))
    weights = [path / "model.safetensors" for path in sorted(folder.parent.glob("checkpoint-*"))]

    assert len(weights) == 2
    assert weights[0].samefile(weights[1])
    before = AutoModelForCausalLM.from_pretrained(settings.model).state_dict()
    for name, tensor in ThoughtModel.load(folder).base.state_dict().items():
        assert torch.equal(before[name], tensor), name
    assert "gradient_norm_base" not in log_of(folder)[0]


def test_the_reward_is_over_an_average_that_follows_the_model_without_thoughts(settings):
    base = AutoModelForCausalLM.from_pretrained(settings.model)
    average = PlainAverage(base.requires_grad_(True), decay=0.75)
    name, weight = next(iter(base.named_parameters()))
    first = weight.detach().clone()
    with torch.no_grad():
        weight.add_(4.0)
    average.follow(base)
    torch.testing.assert_close(average.weights[name], first + 1.0)

    # an average that does not move: what a thought has to beat stays the model that the run began with
    still = replace(settings, head_rate=0.0, positions="all", accumulate=1, batch=7, length=32)
    kept = log_of(train(replace(still, reward_decay=1 - 1e-9)))
    moving = log_of(train(replace(still, out=settings.out + "-own")))
    assert abs(kept[0]["reward"] - moving[0]["reward"]) < 1e-6
    assert kept[-1]["reward"] > moving[-1]["reward"] + 0.01  # the plain model got better, and earns by it


def test_a_killed_run_goes_on_with_its_average(settings, tmp_path):
    rlp = replace(settings, reward_decay=0.5)
    whole = log_of(train(rlp))
    train(replace(rlp, out=str(tmp_path / "parts")))
    shutil.rmtree(tmp_path / "parts" / "checkpoint-000004")
    again = log_of(train(replace(rlp, out=str(tmp_path / "parts"))))

    assert [line["step"] for line in again] == [1, 2, 3, 4]
    assert again[-1]["reward"] == pytest.approx(whole[-1]["reward"], abs=1e-6)


def test_a_gate_learns_where_thoughts_pay_and_is_saved_beside_the_head(settings):
    folder = train(replace(settings, gate_rate=1e-2, gate_nats=-1e9))  # every thought pays
    tensors = load_file(folder / "thoughts.safetensors")

    assert (list(tensors["gate_head.weight"].shape), list(tensors["gate_head.bias"].shape)) == ([1, 32], [1])
    assert tensors["gate_head.bias"].item() > 0
    assert log_of(folder)[-1]["gate_paid"] == 1
    assert log_of(folder)[-1]["gate_nats"] < log_of(folder)[0]["gate_nats"]
    loaded = ThoughtModel.load(folder).thought_parameters
    assert loaded.gate_head is not None
    torch.testing.assert_close(loaded.gate_head.weight, tensors["gate_head.weight"])


def test_thoughts_grow_shorter_and_vectors_and_head_go_on(settings):
    first = train(replace(settings, steps=2, n_ahead=6))
    short = replace(settings, model=str(first), out=settings.out + "-short", n_ahead=None, shorten="5, 4", steps=3)
    none = {"base_rate": 0.0, "vector_rate": 0.0, "head_rate": 1e-20}
    folder = train(replace(short, **none))

    assert [line["n_ahead"] for line in log_of(folder)] == [6, 5, 4]
    assert ThoughtModel.load(folder).config.n_ahead == 4
    before = load_file(first / "thoughts.safetensors")
    for name, tensor in load_file(folder / "thoughts.safetensors").items():
        torch.testing.assert_close(tensor, before[name], msg=name)
    assert [n_ahead_at(step, 7, (8, 6, 4)) for step in range(7)] == [8, 8, 8, 6, 6, 4, 4]
    for wrong, said in (("8", r"n_ahead goes through \[6, 8\]"), ("5, few", "must list n_ahead of later parts")):
        with pytest.raises(SpecError, match=said):
            train(replace(short, out=settings.out + "-wrong", shorten=wrong))


def test_a_student_without_thoughts_comes_nearer_to_its_thinking_teacher(settings, on_a_plain_model, tmp_path):
    teacher = on_a_plain_model(AutoModelForCausalLM.from_pretrained(settings.model), 5)
    folder = tmp_path / "teacher"
    teacher.save(folder)
    for file in Path(settings.model).glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    given = replace(settings, model=str(folder), recipe="distilled", n_ahead=None, thoughts=4, steps=20, save_every=20)
    student = train(replace(given, base_rate=3e-3))
    away = [line["divergence"] for line in log_of(student)]

    assert sum(away[-3:]) < 0.8 * sum(away[:3])
    assert not has_thoughts(str(student))
    with pytest.raises(ModelError, match="is a plain language model"):
        ThoughtModel.load(student)
    AutoModelForCausalLM.from_pretrained(student)
    with pytest.raises(SpecError, match="has no thoughts to distil"):
        train(replace(given, model=settings.model, out=settings.out + "-plain"))


@pytest.mark.parametrize("control", ["fillers", "shuffled", "mixing 0", "never"])
def test_controls_train_without_what_should_help(settings, control):
    lines = log_of(train(replace(settings, control=control, base_rate=3e-3)))

    assert lines[-1]["nats_text"] < lines[0]["nats_text"]
    norms = lines[-1]["gradient_norm_vectors"], lines[-1]["gradient_norm_head"]
    if control in ("mixing 0", "never"):
        assert norms == (0, 0)  # a thought that counts nothing teaches nothing
    else:
        assert min(norms) > 0
    assert lines[-1]["thought_nats"] is None  # nobody learns to think these


def test_what_does_not_meet_is_refused(settings):
    for wrong, said in (
        ({"control": "filler"}, "control='filler' is unknown; did you mean 'fillers'"),
        ({"control": "shuffled", "batch": 1}, "batch must be at least 2"),
        ({"recipe": "faithful", "reward_decay": 0.9}, "recipe='faithful' knows no reward_decay"),
        ({"recipe": "distilled", "gate_rate": 1e-3}, "recipe='distilled' knows no gate_rate"),
        ({"reward_decay": 1.0}, "from 0 to below 1"),
        ({"lora_rank": -1}, "lora_rank=-1 must be at least 0"),
    ):
        with pytest.raises(SpecError, match=said):
            replace(settings, **wrong)
    with pytest.raises(SpecError, match="every learning rate is 0"):
        train(replace(settings, base_rate=0.0, vector_rate=0.0, head_rate=0.0))


def test_samples_of_thoughts_are_shown_and_kept(settings):
    told, shown = [], []
    folder = train(replace(settings, save_every=3), told.append, shown.append)

    kept = [json.loads(line) for line in (folder.parent / "thoughts.jsonl").read_text().splitlines()]
    assert [line["step"] for line in told] == [1, 2, 3, 4]
    assert [line["step"] for line in kept] == [3, 3, 3, 4, 4, 4]
    assert [line["thought"] for line in kept] == [sample.thought for sample in shown]
    assert shown[0].before
    assert "saved" in str(shown[0])
