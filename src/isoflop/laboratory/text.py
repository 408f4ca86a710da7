"""Solved hidden-operations problems as rows to train on, in the forms that the laboratory compares.

    {"text": "a = 4\\nb = ...", "prompt_chars": 58, "thoughts": [{"at": 81, "text": "68"}]}

`plain` is the solution as it is; `thoughts` says besides what is to be thought before each result: what stands after
each operation, the last one too, so that the visible token only has to say it; `fillers` has as many thoughts that all
say `---`, `shuffled` those of the problem before; `scratchpad` writes the partial results out, in front of the result.
What is to be learnt begins behind `prompt_chars`.

    next(rows(parse("problems", "hiddenops()"), form="thoughts", seed="0"))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, cycle, islice
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args

from isoflop.errors import SpecError, did_you_mean
from isoflop.laboratory.tokenizer import END, FILLER
from isoflop.problems.hiddenops import HiddenOps, Line, worked_lines, written
from isoflop.specs import parse

Form = Literal["plain", "thoughts", "fillers", "shuffled", "scratchpad"]
FORMS: tuple[Form, ...] = get_args(Form)
Row = dict[str, Any]


def rows(problems: HiddenOps, form: str, seed: str, skipped: float = 0.0) -> Iterator[Row]:
    """Solved train problems without end; of their lines with two or more operations the share `skipped` leaves its
    working out and guesses."""
    if not 0 <= skipped < 1:
        raise SpecError(f"skipped={skipped}: a share of the lines, from 0 to below 1")
    if form not in FORMS:
        raise SpecError(f"form={form!r} is unknown{did_you_mean(form, FORMS)}")
    before: list[str] = []
    for problem in problems.stream("train", seed):
        lines = worked_lines(problem.question, _habit(Random(f"{seed}/{problem.id}"), skipped))
        held = [_held(line) for line in lines]
        # The first problem has none before it: it is its own.
        thoughts = {"thoughts": held, "shuffled": before or held, "fillers": [FILLER]}.get(form)
        yield _row(f"{problem.question}\n", lines, form, thoughts)
        before = held


def write_rows(path: Path, stages: Sequence[tuple[HiddenOps, int]], form: str, seed: str, skipped: float = 0.0) -> None:
    """So many rows of each set, one set after the other: a curriculum, for a trainer that reads in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for number, (problems, count) in enumerate(stages):
            for row in islice(rows(problems, form, f"{seed}/{number}", skipped), count):
                file.write(json.dumps(row) + "\n")
    unfinished.replace(path)


def stage_of(spelled: str) -> tuple[HiddenOps, int]:
    """`"4000 hiddenops(ops=[1])"`: problems, and how many rows of them. Raises SpecError for anything else."""
    count, _, problems = spelled.strip().partition(" ")
    if not count.isdecimal() or int(count) < 1:
        raise SpecError(f"stage {spelled!r} is not of the form 'COUNT PROBLEMS', such as '4000 hiddenops(ops=[1])'")
    found = parse("problems", problems)
    if not isinstance(found, HiddenOps):
        raise SpecError(f"stage {spelled!r}: the laboratory writes text of hiddenops(...) alone")
    return found, int(count)


def _habit(random: Random, skipped: float) -> Callable[[Line], Line]:
    """What is written of a line that hides two or more operations: by chance no working, and any digit."""

    def said(line: Line) -> Line:
        if not line.partial or random.random() >= skipped:
            return line
        return replace(line, expression=(), result=random.randrange(10))

    return said


def _held(line: Line) -> str:
    """What is to be thought before a line's result; a guess is not thought about."""
    return "".join(map(str, [*line.partial, line.right])) if line.expression else FILLER


def _row(prompt: str, lines: Sequence[Line], form: str, thoughts: Sequence[str] | None) -> Row:
    solution = written(lines) if form != "scratchpad" else _written_out(lines)
    row: Row = {"text": f"{prompt}{solution}{END}", "prompt_chars": len(prompt)}
    if thoughts is not None:
        # The first token of a solution is a step's beginning, too, and there is nothing to think about it.
        places = [len(prompt), *_result_places(lines, len(prompt))]
        texts = chain([FILLER], cycle(thoughts))
        row["thoughts"] = [{"at": at, "text": text} for at, text in zip(places, texts, strict=False)]
    return row


def _result_places(lines: Sequence[Line], at: int) -> list[int]:
    """At which character each line's result stands, where the first line begins `at` one."""
    found = []
    for line in lines:
        at += len(written([line]).partition("\n")[0])
        found.append(at - 1)
        at += 1
    return found


def _written_out(lines: Sequence[Line]) -> str:
    """The solution with partial results in front of each result: `c: 4 + 3 * 7, 7, c = 9`."""
    said = []
    for line, text in zip(lines, written(lines).splitlines(), strict=False):
        start, comma, result = text.rpartition(", ")
        partial = " ".join(map(str, line.partial)) if line.expression else ""
        said.append(f"{start}{comma}{partial}{comma if partial else ''}{result}")
    return "\n".join([*said, written(lines).splitlines()[-1]])
