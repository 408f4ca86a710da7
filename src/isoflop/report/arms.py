"""From a run's records to one summary per arm: correctness and cost as the statistics want them, and what to tell.

n is problems: no answer, a spent budget, a path cut by depth and an unverifiable answer count as wrong. An attempt that
failed (`error`) counts as not made: the arm is incomplete until it is rerun. It tests nothing and draws nothing.

    for arm in summarize(run):
        print(arm.label, arm.correct, arm.n, arm.flops_per_problem)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from isoflop.core import Outcome, Stop
from isoflop.cost.ledger import ROLES, Cost, Ledger, Role
from isoflop.stats.arms import ArmData
from isoflop.stats.intervals import Interval, accuracy_interval
from isoflop.studies.record import Record
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.thought import ThoughtFigures


@dataclass(frozen=True)
class ArmSummary:
    """One arm. "Per problem" is the mean over attempts; `charged` and `spent` are totals over `attempts` attempts.

    `data` is None where no problem has all its attempts yet, or where a problem has no gold answer (`ungraded`).
    `missing` counts attempts that are still to make, failed ones (`failures`) included.
    """

    label: str
    arm: Arm
    attempts: int
    missing: int
    failures: tuple[str, ...]
    data: ArmData | None
    charged: Mapping[Role, Cost]
    spent: Mapping[Role, Cost]
    outcomes: Mapping[Outcome, int]
    stops: Mapping[Stop, int]
    ties: int
    answers: int
    fallback_answers: int
    thinking: tuple[Record, ...] = ()  # attempts that were charged for thoughts

    @property
    def complete(self) -> bool:
        """True where every attempt is made and graded: only then may the arm be tested."""
        return self.missing == 0 and self.data is not None

    @property
    def ungraded(self) -> bool:
        """True where some problem has no gold answer, so that nothing can be right or wrong."""
        return self.outcomes.get(Outcome.UNGRADED, 0) > 0

    @property
    def n(self) -> int:
        """Problems with all their attempts."""
        return 0 if self.data is None else len(self.data.problems)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, 0 to 1."""
        return None if self.data is None else self.data.accuracy

    @property
    def correct(self) -> float | None:
        """Problems solved; with several seeds the mean over seeds."""
        return None if self.data is None else float(self.data.accuracy_by_problem.sum())

    @cached_property
    def interval(self) -> Interval | None:
        """Of the accuracy: Wilson for one attempt per problem, bootstrap by problem for several."""
        return None if self.data is None else accuracy_interval(self.data)

    @cached_property
    def thoughts(self) -> ThoughtFigures | None:
        """Of all attempts, where the arm's engine thought; their trees are read when this is asked for."""
        steps = (node.step for record in self.thinking for node in record.read_nodes())
        return ThoughtFigures.of((step.sampled, step.thoughts) for step in steps) if self.thinking else None

    def per_problem(self, field: str, role: Role | None = None, *, spent: bool = False) -> float | None:
        """Mean of a field or property of `Cost` (`flops`, `naive_flops`, `new_tokens`, ...); None before an attempt."""
        book = self.spent if spent else self.charged
        if not self.attempts:
            return None
        costs = [cost for each, cost in book.items() if role in (None, each)]
        return float(sum(getattr(cost, field) for cost in costs)) / self.attempts

    @property
    def flops_per_problem(self) -> float | None:
        """FLOPs that the arm takes when it runs alone, shared prefixes computed once. None where they are unknown."""
        return self.per_problem("flops") or None

    @property
    def tokens_per_problem(self) -> float | None:
        """New tokens, of all roles. None where they are unknown."""
        return self.per_problem("new_tokens") or None

    @property
    def seconds_per_problem(self) -> float | None:
        """Seconds of shared forwards divided over their rows: a model, no measurement. None where none were noted."""
        return self.per_problem("seconds") or None

    @property
    def joules_per_problem(self) -> float | None:
        """Energy, None where no meter exists."""
        known = [cost.joules for cost in self.spent.values() if cost.joules is not None]
        return sum(known) / self.attempts if known and self.attempts else None

    @property
    def fallback_share(self) -> float | None:
        """Share of the answers that were read by the marked fallback, not in a declared form."""
        return self.fallback_answers / self.answers if self.answers else None

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles that took anything."""
        return tuple(role for role in ROLES if role in self.charged or role in self.spent)


def summarize(run: Run) -> tuple[ArmSummary, ...]:
    """Every arm of a run, in the order declared."""
    study = run.study
    problems = [problem.id for problem in run.problems]
    records: dict[str, list[Record]] = {label: [] for label in study.labels}
    for record in run.attempts:
        records[record.arm].append(record)
    return tuple(_summary(study, study.arm(label), records[label], problems) for label in study.labels)


def _summary(study: Study, arm: Arm, records: Sequence[Record], problems: Sequence[str]) -> ArmSummary:
    made = [record for record in records if not record.failed]
    candidates = [candidate for record in made for candidate in record.candidates if candidate.answer is not None]
    label = study.label(arm)
    return ArmSummary(
        label=label,
        arm=arm,
        attempts=len(made),
        missing=len(problems) * len(study.seeds) - len(made),
        failures=tuple(f"{one.problem.id}: {one.message}" for one in records if one.failed),
        data=_data(label, made, problems, len(study.seeds)),
        charged=_total(record.charged for record in made),
        spent=_total(record.spent for record in made),
        outcomes=Counter(record.outcome for record in made),
        stops=Counter(record.stop for record in made),
        ties=sum(len(record.tied) > 1 for record in made),
        answers=len(candidates),
        fallback_answers=sum(candidate.fallback for candidate in candidates),
        thinking=tuple(record for record in made if "thought" in record.charged),
    )


def _data(label: str, made: Sequence[Record], problems: Sequence[str], seeds: int) -> ArmData | None:
    """Problems with an attempt for each seed, in the study's order."""
    by_problem: dict[str, list[Record]] = {}
    for record in made:
        by_problem.setdefault(record.problem.id, []).append(record)
    whole = [problem for problem in problems if len(by_problem.get(problem, ())) == seeds]
    if not whole or any(record.outcome is Outcome.UNGRADED for record in made):
        return None
    rows = [by_problem[problem] for problem in whole]
    costs = [[record.charged_total for record in row] for row in rows]
    return ArmData(
        label,
        whole,
        correct=[[float(record.correct) for record in row] for row in rows],
        flops=[[cost.flops for cost in row] for row in costs],
        seconds=[[cost.seconds for cost in row] for row in costs],
    )


def _total(books: Iterable[Mapping[Role, Cost]]) -> dict[Role, Cost]:
    ledger = Ledger()
    for costs in books:
        ledger.charge_all(costs)
    return ledger.by_role()
