"""What servers answer, read into tokens: ids, log-probabilities, bytes; and what they say they used.

Servers differ. vLLM gives token ids beside its log-probabilities; llama.cpp an id and bytes in each entry, several
tokens of one character as a single entry; OpenAI and others strings alone, from which ids are looked up or encoded.

    read_tokens(choice, reader)         # [Token(9707, -0.53, b"Hi"), ...]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from isoflop.engines.local_text import Tokens
from isoflop.http.failures import Failure


class Token(NamedTuple):
    """One token: its id, its log-probability (NaN where the server hides it), and its bytes."""

    id: int
    logprob: float
    piece: bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read, of these those that the server had cached, and tokens made; None where it does not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    new_tokens: int | None = None


class Reader:
    """Reads the tokens of a choice, or of a piece of a streamed one."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def read(self, choice: Mapping[str, Any]) -> list[Token]:
        """All tokens of the choice, in order. Raises Failure for what is no answer of a completion."""
        try:
            return self._read(choice)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            said = str(dict(choice))[:200]
            raise Failure(f"the server's answer cannot be read ({type(error).__name__}: {error}): {said}") from error

    def _read(self, choice: Mapping[str, Any]) -> list[Token]:
        told: Mapping[str, Any] = choice.get("logprobs") or {}
        content: list[Mapping[str, Any]] = told.get("content") or []
        ids: list[int] = choice.get("token_ids") or []
        if ids:
            values = [entry["logprob"] for entry in content] or told.get("token_logprobs") or [math.nan] * len(ids)
            return [Token(one, value, self._piece(one)) for one, value in zip(ids, values, strict=True)]
        if content:
            return [
                token for entry in content for token in self._expand(_bytes(entry), entry["logprob"], entry.get("id"))
            ]
        if told.get("tokens"):
            pairs = zip(told["tokens"], told["token_logprobs"], strict=True)
            return [token for text, value in pairs for token in self._expand(_plain(text), value, None)]
        return self._expand(text_of(choice).encode(), math.nan, None)

    def _expand(self, piece: bytes, logprob: float | None, identity: int | None) -> list[Token]:
        """The tokens of one entry. Where it stands for several, only the last one's log-probability is known."""
        value = math.nan if logprob is None else logprob
        if identity is not None and (not piece or self._piece(identity) == piece):
            return [Token(identity, value, piece)]
        if not piece:
            return []
        known = self._ids.get(piece)
        ids = (known,) if known is not None else self._tokens.encode(piece.decode(errors="replace"))
        last = len(ids) - 1
        return [Token(one, value if i == last else math.nan, self._piece(one)) for i, one in enumerate(ids)]

    def _piece(self, token: int) -> bytes:
        return self._tokens.pieces[token]

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        """Which token stands for these bytes; the first of several that do."""
        found: dict[bytes, int] = {}
        for token, piece in enumerate(self._tokens.pieces):
            if piece:
                found.setdefault(piece, token)
        return found


def choice_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The only choice of an answer; empty where there is none (a stream's last event)."""
    choices = document.get("choices") or [{}]
    found: Mapping[str, Any] = choices[0]
    return found


def text_of(choice: Mapping[str, Any]) -> str:
    """The text of a choice or of a piece of one, whatever the protocol calls it."""
    for holder in (choice, choice.get("delta"), choice.get("message")):
        if holder:
            text = holder.get("text") or holder.get("content")
            if text:
                return str(text)
    return ""


def usage_of(document: Mapping[str, Any]) -> Usage:
    """What the server says it used: OpenAI's `usage`, or llama.cpp's `timings`."""
    usage, timings = document.get("usage") or {}, document.get("timings") or {}
    details = usage.get("prompt_tokens_details") or {}
    prompt, cached = usage.get("prompt_tokens"), details.get("cached_tokens")
    if prompt is None and "prompt_n" in timings:
        prompt, cached = timings["prompt_n"] + timings.get("cache_n", 0), timings.get("cache_n")
    return Usage(prompt, cached, usage.get("completion_tokens"))


def _bytes(entry: Mapping[str, Any]) -> bytes:
    told = entry.get("bytes")
    return _plain(entry["token"]) if told is None else bytes(told)


def _plain(text: str) -> bytes:
    """OpenAI writes bytes that are no text as `bytes:\\xe6\\xbc`."""
    if text.startswith("bytes:\\x"):
        return bytes(int(pair, 16) for pair in text.removeprefix("bytes:\\x").split("\\x"))
    return text.encode()
