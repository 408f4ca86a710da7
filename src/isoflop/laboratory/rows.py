"""Rows of text as tensors: what stands there, and what of it is to be learnt.

    rows = read_rows("runs/text.jsonl", word_tokenizer())
    batch = batch_of(rows, step=3, size=16, seed=0, pad=1)

Steps take the rows in the order of the file, which is the curriculum; those of a pool of `POOL` steps are sorted by
length, so that little is padding, and the pool's steps come in an order drawn by the seed.

Legend: B rows, S positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isoflop.errors import ProblemError
from isoflop.problems.rows import read_jsonl, text_in

IGNORED = -100
POOL = 16
_AT_ONCE = 2000  # texts that are tokenized together

Ints = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """Ids [S] of a text, of which the first `given` are not learnt."""

    ids: Ints
    given: int


@dataclass(frozen=True, slots=True)
class Batch:
    """ids [B, S], and labels [B, S]: what position i is to say next, IGNORED where that is not learnt."""

    ids_BS: torch.Tensor
    labels_BS: torch.Tensor


def read_rows(source: str | Path, tokenizer: Any) -> list[EncodedRow]:
    """Every row of a JSON Lines file: its `text`, learnt from `prompt_chars` on (0 where that is missing)."""
    given = list(read_jsonl(Path(source).expanduser()))
    found = []
    for start in range(0, len(given), _AT_ONCE):
        part = given[start : start + _AT_ONCE]
        texts = [text_in(row, "text", f"{source} line {line}") for line, row in part]
        encoded = tokenizer(texts, return_offsets_mapping=True)
        for (line, row), ids, offsets in zip(part, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            given_chars = row.get("prompt_chars", 0)
            begun = sum(start < given_chars for start, _ in offsets)
            if begun == len(ids):
                raise ProblemError(
                    f"{source} line {line}: prompt_chars={given_chars} leaves nothing of the text to learn"
                )
            found.append(EncodedRow(np.array(ids, dtype=np.int16), begun))
    if not found:
        raise ProblemError(f"{source} holds no row; give at least one text")
    return found


def batch_of(rows: Sequence[EncodedRow], step: int, *, size: int, seed: int, pad: int) -> Batch:
    """The rows of a step; the file begins again where it ends."""
    pool, place = divmod(step, POOL)
    chosen = [rows[(pool * POOL * size + number) % len(rows)] for number in range(POOL * size)]
    chosen.sort(key=lambda row: len(row.ids))
    first = int(np.random.default_rng((seed, pool)).permutation(POOL)[place]) * size
    part = chosen[first : first + size]
    longest = max(len(row.ids) for row in part)
    ids_BS = torch.full((size, longest), pad)
    labels_BS = torch.full((size, longest), IGNORED)
    for number, row in enumerate(part):
        ids = torch.from_numpy(row.ids.astype(np.int64))
        ids_BS[number, : len(ids)] = ids
        learnt = max(1, row.given)
        labels_BS[number, learnt - 1 : len(ids) - 1] = ids[learnt:]
    return Batch(ids_BS, labels_BS)
