"""A curriculum that shortens thoughts: equal parts of a run, each with a smaller n_ahead, one model throughout.

    lengths = (16, *parse_lengths("12, 8"))
    n_ahead_at(step=70, steps=90, lengths=lengths)          # 8: the last third

Start and end vectors and the head go on as they are; only fewer tokens stand between them. Huang et al. 2025 (Fast
Quiet-STaR, arXiv 2505.17746), whose published script begins each part with new vectors by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from isoflop.errors import SpecError


def parse_lengths(text: str) -> tuple[int, ...]:
    """The n_ahead of the later parts: `12, 8`; none where nothing is given."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isdecimal() and int(part) >= 2 for part in parts):
        raise SpecError(
            f"shorten={text!r} must list n_ahead of later parts of the run, each at least 2, such as '12, 8'"
        )
    return tuple(int(part) for part in parts)


def check_lengths(lengths: Sequence[int], steps: int) -> None:
    """Refuse lengths that do not fall, or more of them than steps."""
    if any(after >= before for before, after in pairwise(lengths)) or len(lengths) > steps:
        raise SpecError(f"n_ahead goes through {list(lengths)} in {steps} steps; each must be smaller, and have a step")


def n_ahead_at(step: int, steps: int, lengths: Sequence[int]) -> int:
    """n_ahead of a step, counted from 0."""
    return lengths[step * len(lengths) // steps]
