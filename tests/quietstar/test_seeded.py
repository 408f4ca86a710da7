"""Thoughts that come with the text: where they are put, what is refused, and that what hangs on them is learnt."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from isoflop.errors import ProblemError, SpecError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.training.data import Windows, read_documents
from isoflop.quietstar.training.loop import train
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.traces import packed

SIZE = 6
WORDS = ["?", "=", "---", *(f"{kind}{number}" for kind in "abctr" for number in range(SIZE))]


@pytest.fixture
def folder(tmp_path):
    """A small Llama that has learnt nothing, over words."""
    words = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?").save_pretrained(tmp_path / "model")
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.1,
    }
    config = transformers.LlamaConfig(vocab_size=len(words), tie_word_embeddings=False, **sizes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def write(path, fillers=False, documents=500):
    """A result that nothing visible tells, and that its thought does: `a1 b5 c2 =`, thought t4, result r4."""
    lines = []
    for a, b, c, told in np.random.default_rng(1).integers(0, SIZE, (documents, 4)):
        text = f"a{a} b{b} c{c} ="
        thought = {"at": len(text), "text": "---" if fillers else f"t{told}"}
        lines.append(json.dumps({"text": f"{text} r{told}", "thoughts": [thought]}))
    path.write_text("\n".join(lines))
    return str(path)


def share_following(checkpoint):
    """For how many of the six thoughts the model then says the result that goes with it."""
    model = ThoughtModel.load(checkpoint)
    ids = [WORDS.index(word) for word in ("a1", "b5", "c2", "=")]
    said = [model.next_token(ids, thoughts=[WORDS.index(f"t{n}")]).logits.argmax() for n in range(SIZE)]
    return np.mean([WORDS[word] == f"r{n}" for n, word in enumerate(said)])


def test_a_result_that_hangs_on_the_trace_is_learnt_with_seeded_thoughts_and_not_with_fillers(folder, tmp_path):
    shared = {"steps": 50, "seeded_steps": 50, "batch": 32, "length": 5, "talk": 1, "n_ahead": 4, "save_every": 1000}
    rates = {"base_rate": 5e-3, "vector_rate": 1e-4, "head_rate": 5e-3, "warmup_steps": 5}
    share, nats = {}, {}
    for name in ("thoughts", "fillers"):
        data, out = write(tmp_path / f"{name}.jsonl", fillers=name == "fillers"), tmp_path / name
        share[name] = share_following(train(Training(str(folder), data, str(out), **shared, **rates)))
        nats[name] = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["nats_with"]

    assert share["thoughts"] == 1
    assert share["fillers"] < 1
    assert nats["thoughts"] < 0.3 < 1.5 < nats["fillers"]


def test_a_trace_is_thought_after_the_last_token_seen_and_cut_or_filled_up(folder, tmp_path):
    path = tmp_path / "traces.jsonl"
    thoughts = [{"at": 3, "text": "t1 t2 t3"}, {"at": 11, "text": "t4"}]
    path.write_text(json.dumps({"text": "a1 b5 c2 = r2", "thoughts": thoughts}))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = Windows(tokenizer, read_documents(str(path)), 5, 0).batch([0])
    tokens, cut = packed(batch.traces, 2, 2, filler=2)

    assert [trace.place for trace in batch.traces[0]] == [0, 3]
    assert [[WORDS[token] for token in thought] for thought in tokens[0, 0]] == [["t1", "t2"], ["t4", "---"]]
    assert cut == 1


@pytest.mark.parametrize(
    ("thoughts", "told"),
    [
        ("t1", r"line 1: column 'thoughts' holds 't1'; wanted a list such as \[\{\"at\": 15, \"text\": \"1\"\}\]"),
        ([{"at": 3}], "is no thought; wanted a list"),
        ([{"at": 10, "text": "t1"}], "at character 10 of a text of 10; .* after it: 1 to 9"),
    ],
)
def test_traces_that_are_none_are_refused_with_their_line(tmp_path, thoughts, told):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"text": "a1 b5 = r2", "thoughts": thoughts}))
    with pytest.raises(ProblemError, match=told):
        read_documents(str(path))


def test_seeding_without_thoughts_or_tokens_for_them_is_refused(folder, tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("a1 b5 = r2")
    with pytest.raises(ProblemError, match="has no column 'thoughts', which seeded steps learn"):
        train(Training(str(folder), str(plain), str(tmp_path / "one"), seeded_steps=1))
    with pytest.raises(SpecError, match="n_ahead=3 leaves a thought no token to seed; give at least 4"):
        train(Training(str(folder), write(tmp_path / "t.jsonl"), str(tmp_path / "two"), seeded_share=0.5, n_ahead=3))
