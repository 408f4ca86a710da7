"""Where a training step thinks: everywhere, at a boundary, or at a few places by chance. It bounds the step's cost.

    places = parse_positions("random(16)")
    anchors_BA, used_BA = places.anchors(texts, real_BS, [np.random.default_rng((0, number)) for number in (6, 7)])

A boundary is a line's end, or the mark that is given: `boundary('= ')` thinks after each `= `, right before what comes
then. Legend: B sequences, S positions, A anchors of a sequence (the longest row's; others are filled up, not used).
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isoflop.errors import SpecError

ALLOWED = (
    "allowed: all, boundary (after a line's end), boundary('MARK') (after that text), traces (where the text's own "
    "thoughts are), random(N)"
)


@dataclass(frozen=True, slots=True)
class Positions:
    """`kind` is all, boundary, traces or random; `count` is how many by chance, `mark` the text that is a boundary."""

    kind: str
    count: int = 0
    mark: str = "\n"

    def anchors(
        self,
        texts: Sequence[Sequence[str]],
        real_BS: torch.Tensor,
        randoms: Sequence[np.random.Generator],
        traces: Sequence[Sequence[int]] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Anchors [B, A] and which of them are used. Only positions with a token after them are taken; each text has
        the generator that its places come from; `traces` are the places where the texts' own thoughts stand."""
        rows: list[Sequence[int]] = list(traces)
        if self.kind != "traces":
            rows = [self._row(*row) for row in zip(texts, real_BS.sum(1).tolist(), randoms, strict=True)]
        anchors_BA = torch.zeros(len(rows), max(1, *map(len, rows)), dtype=torch.long)
        used_BA = torch.zeros_like(anchors_BA, dtype=torch.bool)
        for place, row in enumerate(rows):
            anchors_BA[place, : len(row)] = torch.tensor(list(row), dtype=torch.long)
            used_BA[place, : len(row)] = True
        return anchors_BA, used_BA

    def _row(self, tokens: Sequence[str], length: int, random: np.random.Generator) -> list[int]:
        last = max(0, int(length) - 1)
        if self.kind == "boundary":
            return [place for place in places_after(self.mark, tokens) if place < last]
        if self.kind == "random":
            return sorted(random.choice(last, min(self.count, last), replace=False).tolist())
        return list(range(last))


def places_after(mark: str, tokens: Sequence[str]) -> list[int]:
    """Places right after `mark`, which may go over several tokens. A token that holds the mark's end and more text is
    not yet seen: the place is then before it."""
    text, ends = "".join(tokens), np.cumsum([len(token) for token in tokens])
    found = set()
    for match in re.finditer(f"(?:{re.escape(mark)})+", text):
        place = int(np.searchsorted(ends, match.end()))
        found.add(place - 1 if text[match.end() : ends[place]].strip() else place)
    return sorted(found - {-1})


def parse_positions(text: str) -> Positions:
    """Raises SpecError for a spelling that names no places."""
    if text in ("all", "boundary", "traces"):
        return Positions(text)
    if found := re.fullmatch(r"random\((\d+)\)", text):
        if int(found[1]) >= 1:
            return Positions("random", int(found[1]))
    elif found := re.fullmatch(r"boundary\((['\"].+['\"])\)", text):
        mark = literal_eval(found[1])
        if mark:
            return Positions("boundary", mark=mark)
    raise SpecError(f"positions={text!r} is unknown; {ALLOWED}, such as random(16)")
