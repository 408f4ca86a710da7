"""A thought: what a thinking model wrote to itself before one token, and what that changed.

It is a record, to be charged, shown and stored: no tensor, no model. It hangs at the step whose token it was thought
before (`Step.thoughts`), and is no part of the step's text.

    Thought(at=0, tokens=(17, 4), text="3+4", weight=0.6, plain="9", mixed="7").changed       # True

Zelikman et al. 2024 (arXiv 2403.09629).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thought:
    """`at`: the index, among its step's tokens, of the token that it was thought before. `weight`: how much it counted,
    any real number. `plain` and `mixed`: the likeliest next token without and with it. `number`: which of the thoughts
    of its node it is, where siblings share them; None where it is this path's alone. `waited`: forwards that went by
    for it alone. `dropped`: tokens drafted ahead that its token made worthless."""

    at: int
    tokens: tuple[int, ...]
    text: str
    weight: float
    plain: str
    mixed: str
    number: int | None = None
    waited: int = 0
    dropped: int = 0

    @property
    def changed(self) -> bool:
        """Whether it made another token the likeliest."""
        return self.plain != self.mixed
