"""A thought: what a thinking model wrote to itself before one token, and what that changed.

It is a record, to be charged, shown and stored: no tensor, no model. It hangs at the step whose token it was thought
before (`Step.thoughts`), and is no part of the step's text.

    Thought(at=0, tokens=(17, 4), text="3+4", weight=0.6, plain="9", mixed="7").changed       # True

Zelikman et al. 2024 (arXiv 2403.09629).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


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


@dataclass(frozen=True, slots=True)
class ThoughtFigures:
    """Of `tokens` sampled tokens, `thoughts` had a thought before them; `changed` of those made another token the
    likeliest. `dropped` tokens were drafted ahead in vain."""

    tokens: int
    thoughts: int
    changed: int
    dropped: int

    @classmethod
    def of(cls, steps: Iterable[tuple[int, Sequence[Thought]]]) -> ThoughtFigures:
        """From each step's sampled tokens and thoughts; one that siblings share counts before each one's token."""
        counted = [(tokens, thoughts) for tokens, thoughts in steps]
        thoughts = [one for _, own in counted for one in own]
        changed, dropped = sum(one.changed for one in thoughts), sum(one.dropped for one in thoughts)
        return cls(sum(tokens for tokens, _ in counted), len(thoughts), changed, dropped)

    @property
    def rate(self) -> float | None:
        """The share of tokens with a thought."""
        return self.thoughts / self.tokens if self.tokens else None

    def to_dict(self) -> dict[str, float | None]:
        """Counts and shares."""
        return asdict(self) | {"rate": self.rate, "hit_rate": self.hit_rate}

    def __str__(self) -> str:
        rate, hit = (f"{share or 0:.0%}" for share in (self.rate, self.hit_rate))
        return f"a thought before {rate} of {self.tokens} tokens, {hit} of them changed the likeliest token"

    @property
    def hit_rate(self) -> float | None:
        """The share of thoughts that changed the likeliest token."""
        return self.changed / self.thoughts if self.thoughts else None
