"""Results as the published study's logs hold them: a CSV with a line per configuration and question.

    configuration,question,gold,picked,correct,reported_flops,reported_seconds
    baseline,0,109,2160,0,12608308510720,59.37

A second file may hold the candidates that each pick was made from: configuration, question, candidate, answer.

    read_published(Path("published_runs.csv"), prompt_tokens=80)[0].data.accuracy
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean

from isoflop.answers.number import read_number, same_number
from isoflop.audit.arms import AuditedArm, Choice, Compute
from isoflop.audit.estimate import estimated, how_it_ran
from isoflop.cost.published import MISTRAL_7B, published_flops_per_token
from isoflop.cost.shape import ModelShape
from isoflop.errors import ProblemError
from isoflop.problems.rows import open_file
from isoflop.stats.arms import ArmData
from isoflop.stats.curves import Pool
from isoflop.stats.votes import majority_at_k

RUN_COLUMNS = ("configuration", "question", "gold", "picked", "correct", "reported_flops", "reported_seconds")
CANDIDATE_COLUMNS = ("configuration", "question", "answer")


@dataclass(frozen=True, slots=True)
class Row:
    """One question under one configuration, as it was reported."""

    question: str
    gold: str
    picked: str
    correct: int
    flops: float
    seconds: float


def read_published(
    path: Path, *, prompt_tokens: int, shape: ModelShape = MISTRAL_7B, candidates: Path | None = None
) -> tuple[AuditedArm, ...]:
    """Every configuration of the file, in its order. Raises ProblemError with line, column and value."""
    rows: dict[str, list[Row]] = {}
    for line, row in _rows(path, RUN_COLUMNS):
        rows.setdefault(row["configuration"], []).append(_row(row, f"{path} line {line}"))
    if not rows:
        raise ProblemError(f"{path} holds no results below its header")
    choices = _choices(candidates, rows) if candidates else {}
    return tuple(_arm(name, own, prompt_tokens, shape, choices.get(name)) for name, own in rows.items())


def _arm(name: str, rows: Sequence[Row], prompt_tokens: int, shape: ModelShape, choice: Choice | None) -> AuditedArm:
    data = ArmData(
        name,
        [row.question for row in rows],
        correct=[[row.correct] for row in rows],
        flops=[[row.flops] for row in rows],
        seconds=[[row.seconds] for row in rows],
    )
    return AuditedArm(
        data,
        reported_flops=fmean(row.flops for row in rows) or None,
        reported_seconds=fmean(row.seconds for row in rows) or None,
        compute=_mean_compute(name, rows, prompt_tokens, shape),
        choice=choice,
        disputed=tuple(row.question for row in rows if row.correct != _equal(row.picked, row.gold)),
    )


def _mean_compute(name: str, rows: Sequence[Row], prompt_tokens: int, shape: ModelShape) -> Compute:
    """Means over questions. Unknown for a configuration that is none of the study's, or FLOPs that are no tokens."""
    ran, rate = how_it_ran(name), published_flops_per_token(shape)
    if ran is None or any(row.flops % rate or not row.flops for row in rows):
        return Compute()
    found = [estimated(ran, int(row.flops // rate), prompt_tokens, shape) for row in rows]
    return Compute(*(fmean(getattr(one, field.name) for one in found) for field in fields(Compute)))


def _choices(path: Path, rows: Mapping[str, Sequence[Row]]) -> dict[str, Choice]:
    """What the candidates behind each configuration's answers allowed."""
    gold = {(name, row.question): row.gold for name, own in rows.items() for row in own}
    answers: dict[str, dict[str, list[str]]] = {}
    for line, row in _rows(path, CANDIDATE_COLUMNS):
        key = (row["configuration"], row["question"])
        if key not in gold:
            raise ProblemError(f"{path} line {line}: {key} is no result of the first file")
        answers.setdefault(key[0], {}).setdefault(key[1], []).append(row["answer"])
    return {
        name: choice_of([_pool(question, given, gold[name, question]) for question, given in own.items()])
        for name, own in answers.items()
    }


def choice_of(pools: Sequence[Pool]) -> Choice:
    """Means over questions, each with all of its candidates."""
    return Choice(
        single=fmean(fmean(pool.correct) for pool in pools),
        majority=fmean(float(majority_at_k([pool]).accuracy[-1]) for pool in pools),
        any_right=fmean(max(pool.correct) for pool in pools),
        mean=fmean(pool.size for pool in pools),
    )


def _pool(question: str, answers: Sequence[str], gold: str) -> Pool:
    labels = tuple(answer.strip() or None for answer in answers)
    return Pool(question, labels, tuple(float(label is not None and _equal(label, gold)) for label in labels))


def _equal(one: str, other: str) -> bool:
    first, second = read_number(one), read_number(other)
    return one == other if first is None or second is None else same_number(first, second)


def _rows(path: Path, columns: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with open_file(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise ProblemError(f"{path}: the header has no {', '.join(missing)}; it has {found}")
            for line, row in enumerate(reader, start=2):
                if None in row or None in row.values():
                    raise ProblemError(f"{path} line {line} does not have as many fields as the header")
                yield line, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProblemError(f"{path} is no CSV in UTF-8: {error}") from None


def _row(row: Mapping[str, str], where: str) -> Row:
    if row["correct"] not in ("0", "1"):
        raise ProblemError(f"{where}: correct is {row['correct']!r}; it must be 0 or 1")
    flops, seconds = (_number(row[column], column, where) for column in ("reported_flops", "reported_seconds"))
    return Row(row["question"], row["gold"], row["picked"], int(row["correct"]), flops, seconds)


def _number(text: str, column: str, where: str) -> float:
    """Empty is 0, which stands for not reported."""
    try:
        value = float(text or 0)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ProblemError(f"{where}: {column} is {text!r}; it must be a number of 0 or more, or empty")
    return value
