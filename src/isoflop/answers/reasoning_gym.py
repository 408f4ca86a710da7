"""The grader of reasoning-gym's tasks: right is what the library's own scorer gives full marks.

grader = ReasoningGymGrader("chain_sum")
grader.verify("3,848.0", "3848")              # Verdict.CORRECT
grader.cluster(["12.0", None, "12", "13"])    # ["12", None, "12", "13"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from isoflop.answers.base import Extracted, Verdict
from isoflop.answers.extract import extract
from isoflop.reasoning_gym import open_task
from isoflop.specs import Spec


@dataclass(frozen=True)
class ReasoningGymGrader(Spec):
    """Answers to `task`, made with `settings`; read in the formats that all answers are read in, without a fallback."""

    spec_family: ClassVar[str] = "grader"
    spec_name: ClassVar[str] = "reasoning_gym"

    task: str
    settings: str = ""

    def extract(self, text: str) -> Extracted | None:
        """The answer that a solution's text declares, or None."""
        return extract(text, fallback=None)

    def verify(self, answer: str, gold: str) -> Verdict:
        """Full marks or not."""
        return Verdict.CORRECT if open_task(self.task, self.settings).takes(answer, gold) else Verdict.WRONG

    def cluster(self, answers: Sequence[str | None]) -> list[str | None]:
        """Answers vote together where the scorer takes the one for the other; the shortest names them."""
        task = open_task(self.task, self.settings)
        labels: dict[str, str] = {}
        for text in sorted({each for each in answers if each is not None}, key=lambda each: (len(each), each)):
            labels[text] = next((label for label in labels.values() if task.takes(text, label)), text)
        return [None if text is None else labels[text] for text in answers]
