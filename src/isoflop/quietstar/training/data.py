"""Text to train on: a JSON Lines file with a text column, plain text files, or a data set of the hub.

    documents = read_documents("text.jsonl")                 # also notes.txt, a folder of .txt, hub:owner/name:train
    window = Windows(tokenizer, documents, length=256, seed=0).batch(step=3, size=8)

A document longer than the window gives a window by chance, another each time it comes round; a shorter one is filled up
on the right. What a step sees follows from the seed and its number alone: a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isoflop.errors import ProblemError
from isoflop.problems.hub import hub_rows
from isoflop.problems.rows import open_file, read_jsonl, text_in


def read_documents(source: str, column: str = "text") -> list[str]:
    """Every document of a source. Raises ProblemError for one that is missing, empty or without its column."""
    if source.startswith("hub:"):
        name, _, split = source.removeprefix("hub:").partition(":")
        rows = hub_rows(name, None, split or "train", "or give a local file")
        found = [text_in(row, column, where) for where, row in rows]
    else:
        found = _read_files(Path(source).expanduser(), column)
    if not found:
        raise ProblemError(f"{source} holds no document; give at least one text")
    return found


def _read_files(path: Path, column: str) -> list[str]:
    if path.suffix == ".jsonl":
        return [text_in(row, column, f"{path} line {line}") for line, row in read_jsonl(path)]
    files = sorted(path.glob("*.txt")) if path.is_dir() else [open_file(path)]
    texts = []
    for file in files:
        try:
            texts.append(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ProblemError(f"{file}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
        if not texts[-1].strip():
            raise ProblemError(f"{file} is empty; fill it or remove it")
    return texts


@dataclass(frozen=True, slots=True)
class Batch:
    """ids [B, S], which are real, and the text of each token."""

    ids_BS: torch.Tensor
    real_BS: torch.Tensor
    texts: list[list[str]]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of `length` tokens over documents in an order drawn anew for each time round. `thought_ids` may stand in
    no text: start and end of a thought are never visible."""

    tokenizer: Any
    documents: Sequence[str]
    length: int
    seed: int
    thought_ids: Sequence[int] = ()

    def batch(self, step: int, size: int) -> Batch:
        """The windows of one step."""
        rows = [self._window(step * size + place) for place in range(size)]
        ids_BS, real_BS = torch.zeros(2, size, self.length, dtype=torch.long).unbind(0)
        for place, row in enumerate(rows):
            ids_BS[place, : len(row)] = torch.tensor(row, dtype=torch.long)
            real_BS[place, : len(row)] = 1
        return Batch(ids_BS, real_BS, [[self.tokenizer.decode([token]) for token in row] for row in rows])

    def _window(self, number: int) -> list[int]:
        turn, place = divmod(number, len(self.documents))
        random = np.random.default_rng((self.seed, turn))
        chosen = int(random.permutation(len(self.documents))[place])
        ids: list[int] = self.tokenizer.encode(self.documents[chosen])
        for at, token in enumerate(ids):
            if token in self.thought_ids:
                mark = self.tokenizer.decode([token])
                raise ProblemError(
                    f"document {chosen + 1} holds {mark!r} (id {token}, token {at + 1}), which "
                    "starts or ends a thought and is never visible; take it out of the text"
                )
        room = max(0, len(ids) - self.length)
        start = int(np.random.default_rng((self.seed, turn, place)).integers(room + 1))
        return ids[start : start + self.length]
