"""Where a server is and how it is asked: its address, the API key from the environment, patience, how much at once.

The key is read from the environment when a client is opened, and from nowhere else: a spec holds the variable's name,
an address with a password in it is refused, and what servers say is shown with the key blotted out.

    address = Address("http://127.0.0.1:8000")
    address.base, address.key()         # "http://127.0.0.1:8000/v1", None
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from isoflop.errors import EngineError
from isoflop.specs import require

KEY_VARIABLE = "ISOFLOP_API_KEY"


@dataclass(frozen=True, slots=True)
class Address:
    """`url`: with or without `/v1`; `$NAME` reads it from the environment. At most `max_live` calls at once.

    A call may take `timeout_seconds`. A server that is away or overloaded is waited for `patience_seconds` in all.
    """

    url: str
    key_variable: str = KEY_VARIABLE
    max_live: int = 64
    timeout_seconds: float = 600.0
    patience_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not self.url.startswith("$"):
            _check(self.url)
        require(self.max_live >= 1, f"max_live={self.max_live}: at least 1 call at once")
        require(self.timeout_seconds > 0, f"timeout_seconds={self.timeout_seconds}: more than 0")
        require(self.patience_seconds >= 0, f"patience_seconds={self.patience_seconds}: 0 or more")
        named = self.key_variable.isidentifier()
        require(named, "key_variable is no name of an environment variable: it names the one that holds the API key")

    @property
    def root(self) -> str:
        """The server's address without `/v1`. Raises EngineError where its variable is not set."""
        url = self.url
        if url.startswith("$"):
            url = os.environ.get(self.url[1:], "")
            if not url:
                raise EngineError(f"url={self.url!r} names an environment variable that is not set: export it first")
            _check(url)
        return url.rstrip("/").removesuffix("/v1")

    @property
    def base(self) -> str:
        """Where OpenAI's paths hang."""
        return f"{self.root}/v1"

    def key(self) -> str | None:
        """The API key, where its variable is set."""
        return os.environ.get(self.key_variable) or None


def _check(url: str) -> None:
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        f"url={_bare(url)!r} is no address of a server, such as 'http://127.0.0.1:8000'",
    )
    require(
        not parts.username and not parts.password and not parts.query,
        f"url={_bare(url)!r} carries a password or a query, and specs are stored: put the key into the environment "
        f"variable {KEY_VARIABLE}, or another one named by key_variable",
    )


def _bare(url: str) -> str:
    """The address without what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
