"""Runs: killed and gone on with, thoughts kept, places to think at, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from isoflop.errors import ProblemError, SpecError, StoreError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.training.data import read_documents
from isoflop.quietstar.training.loop import train
from isoflop.quietstar.training.positions import parse_positions

KILLED_AFTER_STEP_3 = """
import json, os, signal, sys
from isoflop.quietstar.training.loop import train
from isoflop.quietstar.training.settings import Training
train(Training(**json.loads(sys.argv[1])), lambda line: line["step"] == 3 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_run_ends_at_the_weights_of_one_that_was_not(settings, tmp_path):
    command = [sys.executable, "-c", KILLED_AFTER_STEP_3, json.dumps(asdict(settings))]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    resumed = ThoughtModel.load(train(settings))
    whole = ThoughtModel.load(train(replace(settings, out=str(tmp_path / "whole"))))

    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=1e-7, msg=name)
    line = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 4
    assert line["nats_without"] > 0
    assert line["gradient_norm_vectors"] > 0


def test_going_on_from_a_checkpoint_keeps_vectors_and_head(settings, tmp_path):
    first = train(replace(settings, steps=2))
    none = {"base_rate": 0.0, "vector_rate": 0.0, "head_rate": 1e-20}
    second = train(replace(settings, model=str(first), out=str(tmp_path / "more"), steps=1, **none))
    before, after = (ThoughtModel.load(folder).thought_parameters.state_dict() for folder in (first, second))

    assert before["talk_head.0.4.weight"].abs().max() > 0
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, msg=name)


@pytest.fixture
def reference_folder(tiny_llama_folder, on_a_plain_model, tmp_path):
    """A checkpoint as the reference keeps it: a thought's tensors among the model's own, no settings of ours."""
    model = on_a_plain_model(AutoModelForCausalLM.from_pretrained(tiny_llama_folder), 8)
    folder = tmp_path / "reference"
    shutil.copytree(tiny_llama_folder, folder)
    own = {name: tensor.clone() for name, tensor in model.base.state_dict().items()}
    save_file({**own, **model.thought_parameters.state_dict()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_a_checkpoint_of_the_reference_goes_on_with_its_own_thoughts(settings, reference_folder):
    none = {"base_rate": 0.0, "vector_rate": 0.0, "head_rate": 1e-20, "n_ahead": None}
    before = ThoughtModel.load(reference_folder)
    after = ThoughtModel.load(train(replace(settings, model=str(reference_folder), steps=1, **none)))

    assert (after.config.n_ahead, after.config.thought_ids) == (8, (382, 383))
    for name, tensor in before.thought_parameters.state_dict().items():
        torch.testing.assert_close(after.thought_parameters.state_dict()[name], tensor, msg=name)


def test_thought_ids_in_the_text_are_refused_with_their_place(settings, reference_folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(reference_folder)
    marks = ["<|startthought|>", "<|endthought|>"]
    tokenizer.add_tokens([f"<unused{n}>" for n in range(382 - len(tokenizer))] + marks)
    tokenizer.save_pretrained(reference_folder)
    data = tmp_path / "marked.txt"
    data.write_text(f"3 {marks[0]} 4")
    with pytest.raises(ProblemError, match=r"marked.txt holds '<\|startthought\|>' \(id 382, token 3\)"):
        train(replace(settings, model=str(reference_folder), data=str(data)))


def test_bfloat16_multiplies_and_the_weights_stay_in_float32(settings):
    model = ThoughtModel.load(train(replace(settings, precision="bf16", steps=1, recipe="faithful")))

    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def generators(texts, seed=0):
    return [np.random.default_rng((seed, number)) for number in range(len(texts))]


def test_places_to_think_at():
    texts, real = [["a", "\n", "b", ".\n"], ["\n", "c"]], torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    anchors, used = parse_positions("boundary").anchors(texts, real, generators(texts))
    assert (anchors.tolist(), used.tolist()) == ([[1], [0]], [[True], [True]])
    anchors, used = parse_positions("all").anchors(texts, real, generators(texts))
    assert (anchors.tolist(), used.tolist()) == ([[0, 1, 2], [0, 0, 0]], [[True] * 3, [True, False, False]])
    anchors, used = parse_positions("random(2)").anchors(texts, real, generators(texts))
    assert used.tolist() == [[True, True], [True, False]]
    texts = [["a", " =", " ", "5", "\n"], ["b", " =", " 7", "= "]]
    anchors, used = parse_positions("boundary('= ')").anchors(texts, torch.ones(2, 5), generators(texts))
    assert (anchors.tolist(), used.tolist()) == ([[2, 0], [1, 3]], [[True, False], [True, True]])
    for wrong in ("everywhere", "random(0)", "random", "boundary()", "boundary('')"):
        with pytest.raises(SpecError, match="is unknown; allowed: all, boundary"):
            parse_positions(wrong)


@pytest.mark.parametrize("spelling", ["all", "boundary", "random(3)"])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_no_place_to_think_has_padding_at_it_or_after_it(spelling, lengths, seed):
    texts, real = [["\n"] * length for length in lengths], torch.zeros(len(lengths), 9)
    for row, length in enumerate(lengths):
        real[row, :length] = 1
    anchors, used = parse_positions(spelling).anchors(texts, real, generators(texts, seed))

    for row, length in enumerate(lengths):
        places = anchors[row][used[row]].tolist()
        assert len(set(places)) == len(places)
        assert all(place + 1 < length for place in places)


def test_text_is_read_from_files_and_refused_with_its_line(tmp_path, settings):
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    assert [document.text for document in read_documents(str(tmp_path))] == ["one", "two"]
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(ProblemError, match=r"a.txt is empty"):
        read_documents(str(tmp_path))
    with pytest.raises(ProblemError, match=r"line 1 has no column 'words'; allowed: text"):
        read_documents(settings.data, "words")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "x"}\n{"text": ""}\n')
    with pytest.raises(ProblemError, match="line 2: column 'text' is empty"):
        read_documents(str(bad))


def test_settings_that_make_no_run_are_refused(settings):
    with pytest.raises(SpecError, match="recipe='corected' is unknown; did you mean 'corrected'"):
        replace(settings, recipe="corected")
    with pytest.raises(SpecError, match="give at least 2"):
        replace(settings, thoughts=1)
    train(replace(settings, steps=1))
    with pytest.raises(StoreError, match="other settings: steps=1 there, 4 here; give another folder"):
        train(settings)


def test_the_command_line_trains_and_says_what_is_wrong(settings, tmp_path):
    from typer.testing import CliRunner

    from isoflop.cli.main import app

    given = ["quietstar", "train", settings.model, "--data", settings.data, "--out", str(tmp_path / "cli")]
    small = ["--steps", "1", "--n-ahead", "4", "--length", "10", "--batch", "1", "--positions", "random(2)"]
    told = CliRunner().invoke(app, [*given, *small])
    assert told.exit_code == 0, told.output
    assert "nats_with" in told.output
    assert ThoughtModel.load(tmp_path / "cli" / "checkpoint-000001").config.n_ahead == 4
    wrong = CliRunner().invoke(app, [*given, "--positions", "some"])
    assert wrong.exit_code == 2
    assert "positions='some' is unknown" in wrong.output
