"""How a call fails, and which failures may be repeated.

A repeat is safe where it cannot change what is measured: the server has not answered, or broke off, for a reason that
has nothing to do with the answer. A call that ran out of time is not repeated: long answers run out of time more often,
so a second draw would favour short ones.

    raise Failure("http://... answered 429", again=True, wait_seconds=3.0)
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any

# Overloaded or starting: wait as long as patience lasts. Broken: a few tries. Neither was refused for what was asked.
AWAY = (429, 502, 503, 504)
BROKEN = (500,)
FATAL = (401, 403, 404, 405)  # no request of this run will fare better


class Failure(Exception):
    """`again`: a repeat is safe. `away`: the server is not there or wants to be left alone, so it is waited for.
    `fatal`: others would fail alike. `wait_seconds`: what the server asked for."""

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        away: bool = False,
        fatal: bool = False,
        wait_seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.again, self.away, self.fatal = message, again, away, fatal
        self.wait_seconds, self.status = wait_seconds, status


def from_status(where: str, status: int, headers: Mapping[str, str], body: str) -> Failure:
    """What an answer that is no success means."""
    said = _reason(body)
    advice = {
        401: "; set the API key in the environment variable that key_variable names",
        403: "; set the API key in the environment variable that key_variable names",
        429: "; lower max_live",
    }.get(status, "")
    return Failure(
        f"{where} answered {status}{f': {said}' if said else ''}{advice}",
        again=status in AWAY or status in BROKEN,
        away=status in AWAY,
        fatal=status in FATAL,
        wait_seconds=_retry_after(headers.get("retry-after")),
        status=status,
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _reason(body: str) -> str:
    """The message inside an error document, or the text itself, cut."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = body
    for key in ("error", "detail", "message"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return " ".join(str(found).split())[:300]
