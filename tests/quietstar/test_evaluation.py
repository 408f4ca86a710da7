"""Thoughts on held-out text against their controls: what must be equal is, and the verb tells it."""

from __future__ import annotations

import json

import pytest

from isoflop.errors import ProblemError
from isoflop.quietstar.training.data import Document, Windows
from isoflop.quietstar.training.evaluation import ARMS, evaluate
from isoflop.runtime.loading import load_tokenizer

TEXTS = [f"{n} + {n} = {2 * n}\nThe answer is {2 * n}." for n in range(5)]


@pytest.fixture
def windows(tiny_llama_folder):
    documents = [Document(text, f"line {line}") for line, text in enumerate(TEXTS)]
    return Windows(load_tokenizer(str(tiny_llama_folder)), documents, 16, 0)


def test_arms_differ_in_the_thought_alone(thinking, windows):
    model = thinking("llama", 5)
    found = evaluate(model, windows, positions="all", filler=7, batch=2)
    without = found.arms["without"]
    batch = windows.openings(range(len(TEXTS)))
    ids, real = batch.ids_BS, batch.real_BS.bool()
    shares = model.all_positions(ids, attention_mask=real).base_logits.log_softmax(-1)[:, :-1]
    nats = -shares.gather(-1, ids[:, 1:, None])[..., 0][real[:, 1:]]

    assert tuple(found.arms) == ARMS
    assert (found.documents, found.tokens) == (len(TEXTS), len(nats))
    assert without.nats == pytest.approx(nats.mean().item(), rel=1e-5)
    assert found.arms["mixing 0"].nats == pytest.approx(without.nats, rel=1e-5)
    assert without.nats - found.arms["thoughts"].nats == pytest.approx(without.minus_thoughts)
    for arm in found.arms.values():
        assert arm.nats in arm.interval
        assert arm.minus_thoughts in arm.minus_interval
    assert len({round(found.arms[name].nats, 6) for name in ("thoughts", "without", "fillers", "shuffled")}) == 4


def test_one_document_and_no_place_to_think_are_refused(thinking, windows):
    model, tokenizer = thinking("llama", 5), windows.tokenizer
    alone = Windows(tokenizer, windows.documents[:1], 16, 0)
    with pytest.raises(ProblemError, match="1 document: thoughts are shuffled between documents; give at least 2"):
        evaluate(model, alone, positions="all", filler=7)
    with pytest.raises(ProblemError, match="no document has a place to think at"):
        evaluate(model, windows, positions="traces", filler=7)


def test_the_command_line_tells_all_arms(thinking, tiny_llama_folder, tmp_path):
    from typer.testing import CliRunner

    from isoflop.cli.main import app

    thinking("llama", 4).save(tmp_path / "model")
    load_tokenizer(str(tiny_llama_folder)).save_pretrained(tmp_path / "model")
    data = tmp_path / "text.jsonl"
    data.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    given = ["quietstar", "eval", str(tmp_path / "model"), "--data", str(data), "--positions", "random(2)", "--json"]
    told = CliRunner().invoke(app, given)

    assert told.exit_code == 0, told.output
    assert set(json.loads(told.output.splitlines()[-1])["arms"]) == set(ARMS)
    assert "10 tokens predicted after a place to think" in told.output
