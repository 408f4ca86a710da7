"""Text and tokens of a local model: the chat template, encoding, and the bytes that each token stands for.

It is not a tokenizer: it asks the model's own one. Bytes per token are what cutting into steps works on.

    tokens = Tokens(load_tokenizer("path/to/model"), vocab_size=151936, end_tokens={151645})
    tokens.encode("3 + 4", prompt=True); tokens.pieces[17]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from isoflop.asking import Prompt
from isoflop.errors import ModelError

_ANCHOR = "\n"


class Tokens:
    """See the module. `pieces[id]` are the bytes of a token; ids past the tokenizer's own stand for nothing.

    `chat`: every prompt is a chat; what is plain text, the user says.
    """

    def __init__(self, tokenizer: Any, vocab_size: int, end_tokens: Iterable[int], *, chat: bool = False) -> None:
        self.tokenizer, self._chat = tokenizer, chat
        self.pieces = token_bytes(tokenizer, vocab_size)
        self.end_tokens = frozenset(end_tokens)
        first = self._ids("a", special=True)[:1]
        self._bos = first if first == (tokenizer.bos_token_id,) else ()
        plain = self._ids("a")
        # Such tokenizers put a space before every text; text that goes on behind other text must not get one.
        self._adds_space = bool(plain) and self.pieces[plain[0]].startswith(b" ")

    def as_asked(self, prompt: Prompt) -> Prompt:
        """The prompt itself, or as a chat where it has to be one."""
        if prompt.messages or not self._chat:
            return prompt
        return replace(prompt, text="", messages=(("user", prompt.text),))

    def render(self, prompt: Prompt) -> str:
        """Messages through the chat template; plain text as it is."""
        prompt = self.as_asked(prompt)
        if not prompt.messages:
            return prompt.text + prompt.assistant_prefix
        if not getattr(self.tokenizer, "chat_template", None):
            raise ModelError(
                "the prompt is a chat, but the model's tokenizer has no chat template: "
                "use an instruction-tuned model, or a prompt of plain text"
            )
        messages = [{"role": role, "content": content} for role, content in prompt.messages]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text) + prompt.assistant_prefix

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """Token ids; `prompt` adds BOS where the tokenizer wants one and the text has none."""
        if prompt:
            ids = self._ids(text)
            return ids if ids[:1] == self._bos else self._bos + ids
        if self._adds_space and text:
            anchor, ids = self._ids(_ANCHOR), self._ids(_ANCHOR + text)
            if ids[: len(anchor)] == anchor:
                return ids[len(anchor) :]
        return self._ids(text)

    def without_start(self, text: str) -> str:
        """The text without the BOS that a chat template wrote: whoever tokenizes it as a prompt adds one."""
        return text.removeprefix(b"".join(self.pieces[token] for token in self._bos).decode(errors="replace"))

    def _ids(self, text: str, *, special: bool = False) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=special).input_ids)


def token_bytes(tokenizer: Any, vocab_size: int) -> list[bytes]:
    """The bytes of every token id, by the tokenizer's own decoder: byte-level, or spaces as `▁` with byte fallback."""
    decoder = tokenizer.backend_tokenizer.decoder
    kind = json.dumps(json.loads(decoder.__getstate__()), ensure_ascii=False) if decoder is not None else ""
    size = min(vocab_size, len(tokenizer))
    names: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(size)))
    if "ByteLevel" in kind:
        alphabet = _byte_alphabet()
        pieces = [b"" if name is None else _from_byte_level(name, alphabet) for name in names]
    elif "▁" in kind:
        pieces = [b"" if name is None else _from_sentencepiece(name) for name in names]
    else:
        pieces = [_from_decoder(tokenizer, token) for token in range(size)]
    for token, added in tokenizer.added_tokens_decoder.items():
        if token < size:
            pieces[token] = added.content.encode()
    return pieces + [b""] * (vocab_size - size)


def _from_byte_level(name: str, alphabet: dict[str, int]) -> bytes:
    try:
        return bytes([alphabet[letter] for letter in name])
    except KeyError:
        return name.encode()


def _from_sentencepiece(name: str) -> bytes:
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", name):
        return bytes([int(name[3:5], 16)])
    return name.replace("▁", " ").encode()


def _from_decoder(tokenizer: Any, token: int) -> bytes:
    """What the token adds behind itself: once is enough to see it, twice tells how it is joined."""
    once, twice = str(tokenizer.decode([token])), str(tokenizer.decode([token, token]))
    return (twice[len(once) :] if twice.startswith(once) else once).encode()


def _byte_alphabet() -> dict[str, int]:
    """The printable stand-ins of byte-level tokenizers: printable Latin-1 is itself, other bytes follow from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """End-of-sequence tokens, by the generation config and by the tokenizer."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = configured if isinstance(configured, (list, tuple)) else [configured]
    return {int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None}


def generation_end_tokens(tokenizer: Any, source: str) -> set[int]:
    """The same for a model that is not loaded here: by its folder's generation config, where there is one."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(source)
    except (OSError, ValueError):
        configured = None
    return end_tokens(SimpleNamespace(generation_config=configured), tokenizer)
