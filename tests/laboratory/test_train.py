"""A model from nothing: it learns, goes on where it was killed, and is an ordinary model of transformers."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from isoflop.engines.local import Local
from isoflop.errors import ProblemError, SpecError, StoreError
from isoflop.laboratory.rows import IGNORED, POOL, batch_of, read_rows
from isoflop.laboratory.text import stage_of, write_rows
from isoflop.laboratory.tokenizer import word_tokenizer
from isoflop.laboratory.train import LanguageTraining, train


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "plain.jsonl"
    write_rows(path, [stage_of("200 hiddenops(n_steps=[3], ops=[1])")], "plain", "0")
    return str(path)


def tiny(data, out, **changed):
    shape = {"hidden": 32, "layers": 2, "heads": 2, "feed_forward": 64, "batch": 4, "warmup_steps": 2}
    return LanguageTraining(
        data=data, out=str(out), **{**shape, "steps": 6, "save_every": 3, "log_every": 2, **changed}
    )


def test_it_learns_and_an_engine_runs_it(data, tmp_path):
    lines = []
    out = train(tiny(data, tmp_path / "small", steps=80, log_every=40, rate=1e-2), lines.append)
    assert [line["step"] for line in lines] == [40, 80]
    assert lines[-1]["nats"] < 0.8 * lines[0]["nats"]
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [40, 80]
    assert AutoModelForCausalLM.from_pretrained(out).config.model_type == "llama"
    assert Local(str(out), context_tokens=128, memory_gb=0.1).open().context_tokens == 128


def test_a_killed_training_ends_where_it_would_have(data, tmp_path):
    whole = train(tiny(data, tmp_path / "whole"))

    def kill(line):
        if line["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(data, tmp_path / "killed"), kill)
    resumed = train(tiny(data, tmp_path / "killed"))
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_it_goes_on_from_weights_that_are_there(data, tmp_path):
    first = train(tiny(data, tmp_path / "first"))
    second = train(tiny(data, tmp_path / "second", start=str(first), steps=1, rate=0.0))
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (second, first))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_folder_holds_one_run(data, tmp_path):
    train(tiny(data, tmp_path / "one", steps=1))
    with pytest.raises(StoreError, match="other settings"):
        train(tiny(data, tmp_path / "one", steps=2))


def test_the_prompt_is_not_learnt_and_every_row_comes_once(data):
    tokenizer = word_tokenizer()
    rows = read_rows(data, tokenizer)
    batches = [batch_of(rows, step, size=4, seed=0, pad=tokenizer.pad_token_id) for step in range(POOL)]
    seen = sorted(tuple(ids[ids != tokenizer.pad_token_id].tolist()) for batch in batches for ids in batch.ids_BS)
    assert seen == sorted(tuple(row.ids.tolist()) for row in rows[: 4 * POOL])
    for row_ids, labels in zip(batches[0].ids_BS, batches[0].labels_BS, strict=True):
        learnt = tokenizer.decode(labels[labels != IGNORED])
        text = tokenizer.decode(row_ids[row_ids != tokenizer.pad_token_id])
        assert text.endswith("?\n" + learnt)


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(SpecError, match="hidden=30 is no multiple of heads=4"):
        LanguageTraining(data="d", out="o", hidden=30)
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a = 1", "prompt_chars": 5}\n')
    with pytest.raises(ProblemError, match="leaves nothing of the text to learn"):
        read_rows(path, word_tokenizer())
    assert replace(tiny("d", "o"), steps=10).rate_share(9) < 0.1
