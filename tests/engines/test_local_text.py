"""Tokens as bytes, by tokenizers of both kinds; BOS; text that goes on behind other text; chat templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isoflop.asking import Prompt
from isoflop.engines.local_text import Tokens, token_bytes
from isoflop.errors import ModelError
from isoflop.runtime.loading import load_tokenizer

TEXTS = ["The answer is 7.\n", "Emoji 🙂 and é", "  two spaces", "漢字", "3 + 4 = 7"]


def sentencepiece_like() -> Any:
    """As Llama 2 and Mistral have it: `▁` for spaces, a space before every text, bytes for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    letters += ["▁", *"Theansweri0123456789+=.", "Th", "▁a", "▁Th", "▁The", "he"]
    vocab = {letter: number for number, letter in enumerate(letters)}
    merges = [("T", "h"), ("h", "e"), ("▁", "a"), ("▁", "Th"), ("▁Th", "e")]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def byte_level(tiny_llama_folder: Path) -> Any:
    return load_tokenizer(str(tiny_llama_folder))


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_tokens_join_to_the_text(byte_level: Any, text: str) -> None:
    for tokenizer, before in ((byte_level, ""), (sentencepiece_like(), " ")):
        pieces = token_bytes(tokenizer, len(tokenizer))
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert b"".join(pieces[token] for token in ids).decode() == before + text


def test_bytes_of_random_tokens_are_what_the_tokenizer_decodes(byte_level: Any) -> None:
    pieces = token_bytes(byte_level, len(byte_level))
    for seed in range(50):
        ids = np.random.default_rng(seed).integers(0, len(byte_level), 20).tolist()
        assert b"".join(pieces[token] for token in ids).decode(errors="replace") == byte_level.decode(ids)


def test_ids_past_the_tokenizer_stand_for_nothing(byte_level: Any) -> None:
    assert token_bytes(byte_level, 1000)[len(byte_level) :] == [b""] * (1000 - len(byte_level))


def test_bos_is_added_once_and_only_where_the_tokenizer_wants_it(byte_level: Any) -> None:
    plain = Tokens(byte_level, 384, {0})
    assert plain.encode("The", prompt=True) == plain.encode("The")
    wanting = Tokens(sentencepiece_like(), 300, {2})
    assert wanting.encode("The", prompt=True)[0] == 1
    assert wanting.encode("<s>The", prompt=True).count(1) == 1
    assert 1 not in wanting.encode("The")


def test_text_that_goes_on_gets_no_space_before_it() -> None:
    tokens = Tokens(sentencepiece_like(), 300, {2})
    assert b"".join(tokens.pieces[token] for token in tokens.encode("The answer")) == b"The answer"
    assert b"".join(tokens.pieces[token] for token in tokens.encode(" The")) == b" The"
    assert tokens.encode("") == ()


def test_chat_messages_go_through_the_template(byte_level: Any) -> None:
    tokens = Tokens(byte_level, 384, {0})
    prompt = Prompt(messages=(("system", "Be brief."), ("user", "3 + 4?")), assistant_prefix="Well")
    assert tokens.render(prompt) == "[system] Be brief.\n[user] 3 + 4?\n[assistant] Well"
    assert tokens.render(Prompt("plain")) == "plain"


def test_a_chat_without_a_template_is_refused() -> None:
    tokens = Tokens(sentencepiece_like(), 300, {2})
    with pytest.raises(ModelError, match="no chat template: use an instruction-tuned model, or a prompt of plain text"):
        tokens.render(Prompt(messages=(("user", "3 + 4?"),)))
