"""The description of a server that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, or a hosted one.

It says where the server is, what it serves, and by which tokenizer and shape isoflop counts. `open` asks the server
what it can do (`remote_open.py`), so that a study never runs on a guess. Nothing here starts a server.

    engine = Remote("http://127.0.0.1:8000", "policy", tokenizer="path/to/model").open()

What each server can do: docs/servers.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from isoflop.engines.base import EngineSpec
from isoflop.http.address import KEY_VARIABLE, Address
from isoflop.specs import require

if TYPE_CHECKING:
    from isoflop.engines.remote_engine import RemoteEngine


@dataclass(frozen=True)
class Remote(EngineSpec):
    """`url`: with or without `/v1`; `$NAME` takes it from the environment, so that the server may move during a study.
    `model`: the name that the server gives it.

    `tokenizer`: a folder or hub id (default: `model`). `shape`, by which FLOPs are counted: a folder, a config.json, a
    hub id, or numbers, `"qwen2(hidden_size=896, num_hidden_layers=24, ...)"` (default: `tokenizer`).

    `api`: `completions` sends tokens where the server takes them; `chat` sends messages, rendered by the server.
    At most `max_live` calls at once; one may take `timeout_seconds`; a server that is away is waited for
    `patience_seconds`. The API key is read from the environment variable `key_variable`, and is never stored.
    """

    spec_name: ClassVar[str] = "remote"

    url: str
    model: str
    tokenizer: str | None = None
    shape: str | None = None
    api: Literal["completions", "chat"] = "completions"
    context_tokens: int | None = None
    max_live: int = 64
    timeout_seconds: float = 600.0
    patience_seconds: float = 120.0
    key_variable: str = KEY_VARIABLE

    def __post_init__(self) -> None:
        require(self.model != "", "remote(model=''): the name under which the server offers the model")
        tokens = self.context_tokens
        require(tokens is None or tokens >= 2, f"remote(context_tokens={tokens}): at least 2, or left out")
        _ = self.address  # SpecError where it is none

    @property
    def address(self) -> Address:
        """Where the server is, and how patiently it is asked."""
        return Address(self.url, self.key_variable, self.max_live, self.timeout_seconds, self.patience_seconds)

    @property
    def priced_by(self) -> str:
        """The shape that FLOPs are counted by."""
        return self.shape or self.tokenizer or self.model

    def open(self) -> RemoteEngine:
        """Ask the server what it can do. Raises ModelError where it serves another model or tokenizer, EngineError
        where it is not there."""
        from isoflop.engines.remote_open import open_remote

        return open_remote(self)
