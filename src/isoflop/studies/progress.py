"""How far a run is, as data: for the command line, a notebook, or a test. It prints nothing.

run.execute(progress=lambda p: print(p.done, p.total, p.eta_seconds, [(a.label, a.accuracy) for a in p.arms]))
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from isoflop.core import Outcome
from isoflop.cost.ledger import Cost


@dataclass(frozen=True, slots=True)
class ArmProgress:
    """One arm so far; cost is what its attempts are charged."""

    label: str
    done: int
    total: int
    correct: int
    errors: int
    flops: int
    tokens: int

    @property
    def accuracy(self) -> float | None:
        """Share of correct answers among attempts made so far, failed ones left out; None before the first."""
        made = self.done - self.errors
        return self.correct / made if made else None

    @property
    def flops_per_attempt(self) -> float | None:
        """Mean FLOPs of an attempt so far, None before the first."""
        return self.flops / self.done if self.done else None


@dataclass(frozen=True, slots=True)
class Progress:
    """All arms, and the clock of this sitting. `eta_seconds` is None until there is something to go by."""

    arms: tuple[ArmProgress, ...]
    elapsed_seconds: float
    eta_seconds: float | None

    @property
    def done(self) -> int:
        """Attempts made, in all arms."""
        return sum(arm.done for arm in self.arms)

    @property
    def total(self) -> int:
        """Attempts that the study wants, in all arms."""
        return sum(arm.total for arm in self.arms)

    @property
    def errors(self) -> int:
        """Attempts that failed: their arms are incomplete until they are rerun."""
        return sum(arm.errors for arm in self.arms)


class Tally:
    """Counts attempts arm by arm; `start` sets the clock from which the time left is judged."""

    def __init__(self, labels: Sequence[str], attempts_per_arm: int) -> None:
        self._labels, self._total = labels, attempts_per_arm
        self._counts = [[0, 0, 0, 0, 0] for _ in labels]  # done, correct, errors, flops, tokens
        self.start()

    def start(self) -> None:
        """This sitting begins now; what was counted before was done in earlier ones."""
        self._started = time.monotonic()
        self._flops_before = sum(counts[3] for counts in self._counts)

    def add(self, arm: int, outcome: Outcome, charged: Cost) -> None:
        """Count one attempt."""
        counts = self._counts[arm]
        counts[0] += 1
        counts[1] += outcome is Outcome.CORRECT
        counts[2] += outcome is Outcome.ERROR
        counts[3] += charged.flops
        counts[4] += charged.new_tokens

    def progress(self) -> Progress:
        """As it stands."""
        arms = tuple(
            ArmProgress(label, done, self._total, correct, errors, flops, tokens)
            for label, (done, correct, errors, flops, tokens) in zip(self._labels, self._counts, strict=True)
        )
        elapsed = time.monotonic() - self._started
        return Progress(arms, elapsed, self._eta(arms, elapsed))

    def _eta(self, arms: Sequence[ArmProgress], elapsed: float) -> float | None:
        """FLOPs still to go, at this sitting's pace; an arm without attempts is taken for the mean of the others."""
        known = [arm.flops_per_attempt for arm in arms if arm.flops_per_attempt is not None]
        made = sum(arm.flops for arm in arms) - self._flops_before
        if not known or made <= 0:
            return 0.0 if all(arm.done >= arm.total for arm in arms) else None
        mean = sum(known) / len(known)
        left = sum((arm.total - arm.done) * (arm.flops_per_attempt or mean) for arm in arms)
        return elapsed * left / made
