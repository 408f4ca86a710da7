"""Plain JSON Lines of samples, as most people's scripts write them: a line per problem or a line per sample.

    {"question": "6 * 7?", "answer": "42", "completions": ["... 42", "... 13"], "rewards": [0.9, 0.2]}
    {"id": "q1", "question": "6 * 7?", "gold": "42", "completion": "... 42", "logprobs": [-0.1, -0.3]}

Lines with the same id (without ids: the same question) are samples of one problem. Step rewards are refused: how they
are aggregated is a choice, and it is not made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoflop.errors import ProblemError
from isoflop.problems.imports.sample import ImportedSample, first_of, number, token_logprobs
from isoflop.problems.rows import Row, final_answer, read_jsonl, text_in

ID = ("id", "problem_id")
QUESTION = ("question", "problem", "prompt")
GOLD = ("gold", "answer", "target")
MANY = ("completions", "samples", "responses")
ONE = ("completion", "sample", "response", "text")


@dataclass
class _Known:
    """What earlier lines said about a problem."""

    question: str
    gold: str | None
    samples: int = 0


def read_plain(path: Path) -> Iterator[ImportedSample]:
    """The samples of a file, in its order."""
    problems: dict[str, _Known] = {}
    names: dict[str, str] = {}  # question -> id, where the file has no ids
    for line, row in read_jsonl(path):
        where = f"{path} line {line}"
        question = text_in(row, _wanted(row, QUESTION, "question", where), where)
        id_column, gold_column = first_of(row, ID), first_of(row, GOLD)
        gold = final_answer(text_in(row, gold_column, where)) if gold_column else None
        name = text_in(row, id_column, where) if id_column else names.setdefault(question, f"{path.stem}/{len(names)}")
        known = problems.setdefault(name, _Known(question, gold))
        if (known.question, known.gold) != (question, gold):
            raise ProblemError(f"{where}: problem {name!r} had another question or gold answer on an earlier line")
        for text, logprobs, reward in _samples(row, where):
            yield ImportedSample(name, question, gold, known.samples, text, logprobs, reward)
            known.samples += 1


def _samples(row: Row, where: str) -> Iterator[tuple[str, tuple[float, ...] | None, float | None]]:
    """(text, log-probabilities, reward) of each sample on a line."""
    column = _wanted(row, MANY + ONE, "samples", where)
    if column in ONE:
        texts, logprobs, rewards = [row[column]], [row.get("logprobs")], [row.get("reward", row.get("rewards"))]
    else:
        texts = row[column]
        if not isinstance(texts, list) or not texts:
            raise ProblemError(f"{where}: column {column!r} must be a list with at least one text")
        logprobs = _aligned(row, "logprobs", len(texts), where)
        rewards = _aligned(row, "rewards", len(texts), where)
    for index, (text, logprob, reward) in enumerate(zip(texts, logprobs, rewards, strict=True)):
        if not isinstance(text, str):
            raise ProblemError(f"{where}: {column}[{index}] is a {type(text).__name__}; wanted text")
        yield (
            text,
            None if logprob is None else token_logprobs(logprob, f"{where}: logprobs of sample {index}"),
            None if reward is None else _reward(reward, f"{where}: reward of sample {index}"),
        )


def _reward(value: Any, where: str) -> float:
    if isinstance(value, list):
        raise ProblemError(f"{where} is a list; aggregate step rewards first (last, min, prod or mean)")
    return number(value, where)


def _aligned(row: Row, column: str, count: int, where: str) -> list[Any]:
    """A column with one entry a sample; None for each where the column is absent."""
    values = row.get(column)
    if values is None:
        return [None] * count
    if not isinstance(values, list) or len(values) != count:
        size = len(values) if isinstance(values, list) else "no list"
        raise ProblemError(f"{where}: {column!r} must be a list of {count} entries, one a sample; it is {size}")
    return values


def _wanted(row: Row, names: tuple[str, ...], what: str, where: str) -> str:
    found = first_of(row, names)
    if found is None:
        raise ProblemError(
            f"{where} has no {what}: wanted one of {', '.join(names)}; it has {', '.join(row) or 'nothing'}"
        )
    return found
