"""Text to train on: a JSON Lines file with a text column, plain text files, or a data set of the hub.

    documents = read_documents("text.jsonl")                 # also notes.txt, a folder of .txt, hub:owner/name:train
    documents[0].text, documents[0].traces
    batch = Windows(tokenizer, documents, length=256, seed=0).batch(range(24, 32))

A row's `prompt_chars` first characters are given and not learnt: nothing is lost by predicting them badly.

A document longer than the window gives a window by chance, another each time it comes round; a shorter one is filled up
on the right. A window follows from the seed and its number alone: a resumed run, or one on more workers, sees the same.
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
from isoflop.problems.rows import Row, open_file, read_jsonl, text_in
from isoflop.quietstar.training.traces import PlacedTrace, Trace, place_traces, traces_in


@dataclass(frozen=True, slots=True)
class Document:
    """A text, where it came from, and what is to be thought in it where that is known. Its first `prompt_chars`
    characters are given, not learnt."""

    text: str
    where: str
    traces: tuple[Trace, ...] = ()
    prompt_chars: int = 0


def read_documents(source: str, column: str = "text") -> list[Document]:
    """Every document of a source. Raises ProblemError for one that is missing, empty or without its column."""
    if source.startswith("hub:"):
        name, _, split = source.removeprefix("hub:").partition(":")
        rows = hub_rows(name, None, split or "train", "or give a local file")
        found = [_document(row, column, where) for where, row in rows]
    else:
        found = _read_files(Path(source).expanduser(), column)
    if not found:
        raise ProblemError(f"{source} holds no document; give at least one text")
    return found


def _document(row: Row, column: str, where: str) -> Document:
    text, given = text_in(row, column, where), row.get("prompt_chars", 0)
    if not isinstance(given, int) or not 0 <= given < len(text):
        raise ProblemError(
            f"{where}: prompt_chars={given!r} counts the characters before what is learnt: 0 to {len(text) - 1}"
        )
    return Document(text, where, traces_in(row, text, where), given)


def _read_files(path: Path, column: str) -> list[Document]:
    if path.suffix == ".jsonl":
        return [_document(row, column, f"{path} line {line}") for line, row in read_jsonl(path)]
    files = sorted(path.glob("*.txt")) if path.is_dir() else [open_file(path)]
    found = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ProblemError(f"{file}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
        if not text.strip():
            raise ProblemError(f"{file} is empty; fill it or remove it")
        found.append(Document(text, str(file)))
    return found


@dataclass(frozen=True, slots=True)
class Window:
    """Ids of a window, how many of them are given, and its traces."""

    ids: list[int]
    given: int
    traces: list[PlacedTrace]


@dataclass(frozen=True, slots=True)
class Batch:
    """ids [B, S], which are real and which are learnt, too, the text of each token, the traces that have a token after
    them, and which of all windows, or documents, these are: what is drawn for each follows from its number."""

    ids_BS: torch.Tensor
    real_BS: torch.Tensor
    learnt_BS: torch.Tensor
    texts: list[list[str]]
    traces: list[list[PlacedTrace]]
    numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of `length` tokens over documents in an order drawn anew for each time round. `thought_ids` may stand in
    no text: start and end of a thought are never visible."""

    tokenizer: Any
    documents: Sequence[Document]
    length: int
    seed: int
    thought_ids: Sequence[int] = ()

    def batch(self, numbers: Sequence[int]) -> Batch:
        """These of the windows, counted from the start of a run."""
        return self._batched([self._drawn(number) for number in numbers], numbers)

    def openings(self, numbers: Sequence[int]) -> Batch:
        """The first window of each of these documents."""
        return self._batched([self._cut(self.documents[number], 0) for number in numbers], numbers)

    def _batched(self, rows: list[Window], numbers: Sequence[int]) -> Batch:
        ids_BS, real_BS, learnt_BS = torch.zeros(3, len(rows), self.length, dtype=torch.long).unbind(0)
        for place, row in enumerate(rows):
            ids_BS[place, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.long)
            real_BS[place, : len(row.ids)] = 1
            learnt_BS[place, row.given : len(row.ids)] = 1
        texts = [[self.tokenizer.decode([token]) for token in row.ids] for row in rows]
        return Batch(ids_BS, real_BS, learnt_BS, texts, [row.traces for row in rows], numbers)

    def _drawn(self, number: int) -> Window:
        turn, place = divmod(number, len(self.documents))
        random = np.random.default_rng((self.seed, turn))
        document = self.documents[int(random.permutation(len(self.documents))[place])]
        return self._cut(document, float(np.random.default_rng((self.seed, turn, place)).random()))

    def _cut(self, document: Document, share: float) -> Window:
        """The window that begins at a `share` of the places where it can."""
        tokenized = self.tokenizer(document.text, return_offsets_mapping=True)
        ids, ends = tokenized["input_ids"], [end for _, end in tokenized["offset_mapping"]]
        for at, token in enumerate(ids):
            if token in self.thought_ids:
                mark = self.tokenizer.decode([token])
                raise ProblemError(
                    f"{document.where} holds {mark!r} (id {token}, token {at + 1}), which starts or ends a thought and "
                    "is never visible; take it out of the text"
                )
        traces = place_traces(self.tokenizer, document.traces, ends, document.where, self.thought_ids)
        start = int(share * (max(0, len(ids) - self.length) + 1))
        window = ids[start : start + self.length]
        moved = [PlacedTrace(trace.place - start, trace.ids) for trace in traces]
        given = sum(begin < document.prompt_chars for begin, _ in tokenized["offset_mapping"]) - start
        return Window(window, max(0, given), [trace for trace in moved if 0 <= trace.place < len(window) - 1])
