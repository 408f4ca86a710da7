"""Labels from a stored run: of any run by outcome, or exact where its problems have a step oracle; of `rollouts(...)`
arms also by completions, hard or soft.

Nothing is generated or scored anew: solutions and completions are read off the stored trees and graded. What failed,
has no gold answer or could not be verified gives no label and is counted in `skipped`.

    labels = RunLabels(Run.open("runs/labels"), "hard")
    write_labels("labels.jsonl", labels)
    labels.skipped                       # Counter({"unverifiable": 3})

The last visible step has its solution's own result. With `first_error='binary'` every step of a right solution is good,
the steps of a wrong one are until the first error, and soft labels are known only where completions were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from isoflop import specs
from isoflop.answers.base import Grader, graded
from isoflop.asking import Prompt
from isoflop.core import Channel, Origin, Outcome, Step, StepEnd, Trajectory
from isoflop.errors import StudyError
from isoflop.problems.base import StepOracle
from isoflop.reward_training.labels import LabelKind, LabelledSolution, LabelledStep
from isoflop.search.rollouts import Halving, Rollouts
from isoflop.studies.record import Record
from isoflop.studies.run import Run

COMPLETED: tuple[LabelKind, ...] = ("hard", "soft")  # what completions are needed for
VERIFIED = (Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER)
Measured = dict[tuple[str, ...], list[bool]]  # a prefix's texts -> whether each verified completion is right


class RunLabels:
    """See the module. Iterate to get the solutions; `skipped` counts what gave none, so far."""

    def __init__(self, run: Run, kind: LabelKind) -> None:
        self.run, self.kind = run, kind
        self.skipped: Counter[str] = Counter()
        self._grader: Grader = specs.parse("grader", run.study.problems.grader)
        self._rollouts = {
            run.study.label(arm): arm.strategy for arm in run.study.arms if isinstance(arm.strategy, Rollouts)
        }
        self._oracle = run.study.problems.step_oracle() if kind == "exact" else None
        if kind == "exact" and self._oracle is None:
            raise StudyError(
                f"{run.folder}: {run.study.problems} knows no right steps, which exact labels are made of; ask for "
                "outcome labels, or roll out with `isoflop reward label --model ... --completions 4`"
            )
        if kind in COMPLETED and not self._rollouts:
            raise StudyError(
                f"{run.folder} has no completions, which {kind} labels are made of: none of its arms is rollouts(...); "
                "ask for outcome labels, or roll out with `isoflop reward label --model ... --completions 4`"
            )

    def __iter__(self) -> Iterator[LabelledSolution]:
        self.skipped.clear()
        for record in self.run.attempts:
            if self.kind not in COMPLETED or record.arm in self._rollouts:
                yield from self._of(record)

    def _of(self, record: Record) -> Iterator[LabelledSolution]:
        if record.failed:
            self.skipped["failed attempts"] += 1
            return
        strategy = self._rollouts.get(record.arm)
        measured = self._measured(record) if strategy is not None and self.kind in COMPLETED else {}
        for candidate in record.candidates:
            if strategy is not None and any(record.nodes[candidate.node].path[1:]):
                continue  # a completion, voted on because the budget ran out
            if candidate.outcome not in VERIFIED or record.problem.answer is None:
                self.skipped[candidate.outcome.value] += 1
                continue
            steps = steps_to(record, candidate.node)
            correct = candidate.outcome is Outcome.CORRECT
            binary = self.kind == "hard" and strategy is not None and strategy.first_error == "binary"
            yield LabelledSolution(
                problem=record.problem.id,
                question=record.problem.question,
                gold=record.problem.answer,
                prompt=record.prompt_text,
                steps=tuple(
                    _exact_labels(record, steps, self._oracle)
                    if self._oracle is not None
                    else _first_error_labels(steps, correct, measured)
                    if binary
                    else _own_labels(steps, correct, measured, self.kind)
                ),
                outcome=candidate.outcome,
                kind=self.kind,
                arm=record.arm,
                seed=record.seed,
            )

    def _measured(self, record: Record) -> Measured:
        """The verified completions of each prefix; equal prefixes of several solutions have theirs together."""
        found: Measured = {}
        for place, node in enumerate(record.nodes):
            if node.step.end not in (StepEnd.END, StepEnd.CLOSED) or not any(node.path[1:]):
                continue
            steps = steps_to(record, place)
            # A completion is the only child of each of its own nodes: it begins at the last index that is not 0.
            begins = max(depth for depth, index in enumerate(node.path) if index)
            text = "".join(step.text for step in steps if step.channel is Channel.VISIBLE)
            outcome = graded(self._grader, record.problem, text)
            if outcome in VERIFIED:
                found.setdefault(_texts(steps, begins), []).append(outcome is Outcome.CORRECT)
            else:
                self.skipped[f"{outcome.value} completions"] += 1
        return found


def steps_to(record: Record, node: int) -> list[Step]:
    """All steps of the solution that ends in this node."""
    found: list[Step] = []
    place: int | None = node
    while place is not None:
        found.append(record.nodes[place].step)
        place = record.nodes[place].parent
    return found[::-1]


def _own_labels(steps: Sequence[Step], correct: bool, measured: Measured, kind: LabelKind) -> Iterator[LabelledStep]:
    """Each step by its own completions, or by the solution's result."""
    last = _visible(steps)[-1:]
    for place, step in enumerate(steps):
        label, completions = None, 0
        if step.channel is Channel.VISIBLE and (kind == "outcome" or place in last):
            label = float(correct)
        elif step.channel is Channel.VISIBLE:
            right = measured.get(_texts(steps, place + 1), [])
            completions = len(right)
            if right:
                label = float(any(right)) if kind == "hard" else sum(right) / len(right)
        yield _labelled(step, label, completions)


def _exact_labels(record: Record, steps: Sequence[Step], oracle: StepOracle) -> Iterator[LabelledStep]:
    """Each prefix by the oracle of the problem set."""
    origin = Origin(record.problem, Prompt(), record.prompt_text, (), record.seed, "")
    node = Trajectory.at(origin)
    for step in steps:
        node = node.extend(step, 0)
        yield _labelled(step, float(oracle(node)) if step.channel is Channel.VISIBLE else None, 0)


def _first_error_labels(steps: Sequence[Step], correct: bool, measured: Measured) -> Iterator[LabelledStep]:
    """Good before the first error, bad from there on; None between where the search was cut short."""
    visible = _visible(steps)
    places = [place for place in visible[:-1] if steps[place].end is StepEnd.DELIMITER]
    search = Halving(places)
    while not correct and search.open and (right := measured.get(_texts(steps, search.middle + 1))):
        search.learn(any(right))
    good_to = places[search.low - 1] if search.low else -1
    bad_from = [*places, *visible[-1:], len(steps)][search.high]
    for place, step in enumerate(steps):
        label = None
        if step.channel is Channel.VISIBLE and (correct or place <= good_to or place >= bad_from):
            label = float(correct or place <= good_to)
        yield _labelled(step, label, len(measured.get(_texts(steps, place + 1), [])))


def _visible(steps: Sequence[Step]) -> list[int]:
    return [place for place, step in enumerate(steps) if step.channel is Channel.VISIBLE]


def _texts(steps: Sequence[Step], end: int) -> tuple[str, ...]:
    return tuple(step.text for step in steps[:end])


def _labelled(step: Step, label: float | None, completions: int) -> LabelledStep:
    return LabelledStep(step.text, label, completions, step.tokens, step.logprobs, step.forced, step.channel)
