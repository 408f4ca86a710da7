"""Solved hidden-operations problems as rows to train on, in the forms that the laboratory compares.

    {"text": "a = 4\\nb = ...", "prompt_chars": 58, "thoughts": [{"at": 81, "text": "68"}]}

`plain` is the solution as it is; `thoughts` says besides what is to be thought before each result: what stands after
each operation, the last one too, so that the visible token only has to say it; `fillers` has as many thoughts that all
say `---`; `scratchpad` writes the partial results out, in front of the result. What is to be learnt begins behind
`prompt_chars`.

    next(rows(parse("problems", "hiddenops()"), form="thoughts", seed="0"))
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from isoflop.core import Problem
from isoflop.errors import SpecError, did_you_mean
from isoflop.laboratory.tokenizer import END, FILLER
from isoflop.problems.hiddenops import HiddenOps, Line, worked_lines, written
from isoflop.specs import parse

Form = Literal["plain", "thoughts", "fillers", "scratchpad"]
FORMS: tuple[Form, ...] = get_args(Form)
Row = dict[str, Any]


def rows(problems: HiddenOps, form: str, seed: str) -> Iterator[Row]:
    """Solved train problems without end."""
    if form not in FORMS:
        raise SpecError(f"form={form!r} is unknown{did_you_mean(form, FORMS)}")
    for problem in problems.stream("train", seed):
        yield _row(problem, form)


def write_rows(path: Path, stages: Sequence[tuple[HiddenOps, int]], form: str, seed: str) -> None:
    """So many rows of each set, one set after the other: a curriculum, for a trainer that reads in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for number, (problems, count) in enumerate(stages):
            for row in islice(rows(problems, form, f"{seed}/{number}"), count):
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


def _row(problem: Problem, form: str) -> Row:
    prompt, lines = f"{problem.question}\n", worked_lines(problem.question)
    solution = written(lines) if form != "scratchpad" else _written_out(lines)
    row: Row = {"text": f"{prompt}{solution}{END}", "prompt_chars": len(prompt)}
    if form in ("thoughts", "fillers"):
        said = ["".join(map(str, [*line.partial, line.right])) if form == "thoughts" else "" for line in lines]
        # The first token of a solution is a step's beginning, too, and there is nothing to think about it.
        places = [len(prompt), *_result_places(lines, len(prompt))]
        row["thoughts"] = [{"at": at, "text": text or FILLER} for at, text in zip(places, ["", *said], strict=True)]
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
        said.append(f"{start}{comma}{' '.join(map(str, line.partial))}{comma if line.partial else ''}{result}")
    return "\n".join([*said, written(lines).splitlines()[-1]])
