"""Thoughts that come with the text: where each is thought, and its tokens, cut or filled up to a thought's length.

    {"text": "a = 7 * 3 - 4 = 7 ;", "thoughts": [{"at": 15, "text": "1"}]}

A thought `at` character 15 is thought after the last token that ends there or before: what follows is not yet seen. A
thought of the model has exactly n_ahead - 3 tokens: of a longer trace the first ones are kept, a shorter one is filled
up with the filler token, which is learnt as well since the model has to write it too.

Legend: B sequences, A anchors of a sequence, N sampled tokens of a thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from isoflop.errors import ProblemError, SpecError
from isoflop.problems.rows import Row


@dataclass(frozen=True, slots=True)
class Trace:
    """What is to be thought once `at` characters are seen."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class PlacedTrace:
    """What is to be thought after the token at `place`."""

    place: int
    ids: list[int]


def traces_in(row: Row, text: str, where: str) -> tuple[Trace, ...]:
    """The column `thoughts`, none where it is missing. Raises ProblemError for one that is not as the module says."""
    given = row.get("thoughts") or []
    shape = 'a list such as [{"at": 15, "text": "1"}]'
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ProblemError(f"{where}: column 'thoughts' holds {given!r}; wanted {shape}")
    for one in given:
        at, thought = one.get("at"), one.get("text")
        if not isinstance(at, int) or not isinstance(thought, str) or not thought:
            raise ProblemError(f"{where}: {one!r} is no thought; wanted {shape}")
        if not 1 <= at < len(text):
            raise ProblemError(
                f"{where}: a thought stands at character {at} of a text of {len(text)}; it must have text before and "
                f"after it: 1 to {len(text) - 1}"
            )
    return tuple(Trace(one["at"], one["text"]) for one in given)


def place_traces(
    tokenizer: Any, traces: Sequence[Trace], ends: Sequence[int], where: str, never: Sequence[int]
) -> list[PlacedTrace]:
    """Each trace after the last token that ends at its character or before; `ends` are the tokens' last characters."""
    found = []
    for trace in traces:
        places = [place for place, end in enumerate(ends) if 0 < end <= trace.at]
        if not places:
            raise ProblemError(f"{where}: a thought at character {trace.at} stands inside the first token; move it on")
        ids = tokenizer.encode(trace.text, add_special_tokens=False)
        if not ids or any(token in never for token in ids):
            raise ProblemError(
                f"{where}: the thought {trace.text!r} has no token, or one that starts or ends a thought; change it"
            )
        found.append(PlacedTrace(places[-1], ids))
    return found


def packed(
    rows: Sequence[Sequence[PlacedTrace]], anchors: int, sampled_tokens: int, filler: int
) -> tuple[torch.Tensor, int]:
    """Tokens [B, 1, A, N] of the traces, rows filled up to `anchors`, and how many traces were cut."""
    thoughts_BAN = torch.full((len(rows), anchors, sampled_tokens), filler, dtype=torch.long)
    for row, traces in enumerate(rows):
        for anchor, trace in enumerate(traces):
            kept = trace.ids[:sampled_tokens]
            thoughts_BAN[row, anchor, : len(kept)] = torch.tensor(kept, dtype=torch.long)
    cut = sum(len(trace.ids) > sampled_tokens for traces in rows for trace in traces)
    return thoughts_BAN[:, None], cut


def filler_token(tokenizer: Any, filler: str) -> int:
    """The first token of a text."""
    ids = tokenizer.encode(filler, add_special_tokens=False)
    if not ids:
        raise SpecError(f"filler={filler!r} is no token of this model's vocabulary; give a text that is")
    return int(ids[0])
