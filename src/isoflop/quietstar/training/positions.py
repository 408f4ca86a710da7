"""Where a training step thinks: everywhere, after a boundary, or at a few places by chance. It bounds the step's cost.

    places = parse_positions("random(16)")
    anchors_BA, used_BA = places.anchors(texts, real_BS, seed=(0, 7))

Legend: B sequences, S positions, A anchors of a sequence (the longest row's; others are filled up, not used).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isoflop.errors import SpecError

ALLOWED = (
    "allowed: all, boundary (after a token that ends a line), traces (where the text's own thoughts are), random(N)"
)


@dataclass(frozen=True, slots=True)
class Positions:
    """`kind` is all, boundary, traces or random; `count` is how many by chance."""

    kind: str
    count: int = 0

    def anchors(
        self,
        texts: Sequence[Sequence[str]],
        real_BS: torch.Tensor,
        seed: tuple[int, ...],
        traces: Sequence[Sequence[int]] = (),
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Anchors [B, A] and which of them are used. Only positions with a token after them are taken; `traces` are
        the places where the texts' own thoughts stand."""
        random = np.random.default_rng(seed)
        rows: list[Sequence[int]] = list(traces)
        if self.kind != "traces":
            rows = [self._row(text, int(real.sum()), random) for text, real in zip(texts, real_BS, strict=True)]
        anchors_BA = torch.zeros(len(rows), max(1, *map(len, rows)), dtype=torch.long)
        used_BA = torch.zeros_like(anchors_BA, dtype=torch.bool)
        for place, row in enumerate(rows):
            anchors_BA[place, : len(row)] = torch.tensor(list(row), dtype=torch.long)
            used_BA[place, : len(row)] = True
        return anchors_BA, used_BA

    def _row(self, tokens: Sequence[str], length: int, random: np.random.Generator) -> list[int]:
        last = max(0, length - 1)
        if self.kind == "boundary":
            return [place for place in range(last) if "\n" in tokens[place]]
        if self.kind == "random":
            return sorted(random.choice(last, min(self.count, last), replace=False).tolist())
        return list(range(last))


def parse_positions(text: str) -> Positions:
    """Raises SpecError for a spelling that names no places."""
    if text in ("all", "boundary", "traces"):
        return Positions(text)
    found = re.fullmatch(r"random\((\d+)\)", text)
    if found is None or int(found[1]) < 1:
        raise SpecError(f"positions={text!r} is unknown; {ALLOWED}, such as random(16)")
    return Positions("random", int(found[1]))
