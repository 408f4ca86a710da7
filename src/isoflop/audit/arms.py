"""What an audit reads: one arm's answers, what was reported of its cost, and what its compute is estimated at.

It computes nothing; `published.py`, `samples.py` and `from_run.py` fill it.
"""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.stats.arms import ArmData


@dataclass(frozen=True, slots=True)
class Compute:
    """FLOPs per question, each None where it is not known.

    `ideal`: every token read or made once, prefixes shared by all that share them. `alone`: every sample or step reads
    its own prefix, then caches. `as_run`: as the code that made the results did it. `uncached`: by code that reads all
    text again for each token. `tokens`: visible new tokens.
    """

    ideal: float | None = None
    alone: float | None = None
    as_run: float | None = None
    uncached: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the candidates behind the answers allowed, as shares of questions: `single`, one candidate drawn by chance;
    `majority`, the commonest answer, ties by fair chance; `any_right`, a selector that knows. `mean`: candidates a
    question."""

    single: float
    majority: float
    any_right: float
    mean: float


@dataclass(frozen=True)
class AuditedArm:
    """One configuration. `reported_flops` and `reported_seconds` are means per question, None where none were reported;
    `estimated`: True where `compute` is an estimate and not a book that was kept. `disputed`: questions whose mark is
    not what comparing the pick with gold gives."""

    data: ArmData
    reported_flops: float | None = None
    reported_seconds: float | None = None
    compute: Compute = Compute()
    estimated: bool = True
    choice: Choice | None = None
    disputed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The configuration's name."""
        return self.data.name
