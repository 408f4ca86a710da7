"""Rows of data: JSON Lines files read strictly, and the text in their columns, with errors that name file and line.

Shared by every problem set and importer; it knows no format beyond "one JSON object a line".

    for line, row in read_jsonl(Path("questions.jsonl")):
        question = text_in(row, "question", f"questions.jsonl line {line}")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isoflop.errors import ProblemError, did_you_mean

Row = Mapping[str, Any]


def read_jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    """(line number from 1, object) for every line that is not blank. Takes a byte-order mark, CRLF and long lines."""
    with open_file(path).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = _parsed(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, f"{path} line {number}")
            if row is not None:
                yield number, row


def open_file(path: Path) -> Path:
    """`path` itself if it is a readable file, else ProblemError."""
    if path.is_dir():
        raise ProblemError(f"{path} is a folder; give the file")
    if not path.is_file():
        raise ProblemError(f"{path} does not exist; give a file that does (from {Path.cwd()})")
    return path


def parse_json(text: bytes, where: str) -> Any:
    """JSON from UTF-8 bytes; whatever is wrong with them is a ProblemError that says where."""
    try:
        return json.loads(text.decode("utf-8"), parse_int=_integer)
    except UnicodeDecodeError as error:
        raise ProblemError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{where} is not JSON: {error}") from None


def text_in(row: Row, column: str, where: str) -> str:
    """The text in a column; a number is taken as it is spelled in Python. Missing or empty is a ProblemError."""
    if row.get(column) is None:
        raise ProblemError(f"{where} has no column {column!r}{did_you_mean(column, map(str, row))}")
    value = row[column]
    if not isinstance(value, (str, int, float)):
        raise ProblemError(f"{where}: column {column!r} holds a {type(value).__name__}; wanted text or a number")
    if not str(value).strip():
        raise ProblemError(f"{where}: column {column!r} is empty; fill it or remove the row")
    return str(value)


def final_answer(solution: str) -> str:
    """What stands behind the last `####`, without thousands separators; a text without that mark as it is."""
    _, mark, answer = solution.rpartition("####")
    return answer.strip().replace(",", "") if mark else solution


def _parsed(line: bytes, where: str) -> Row | None:
    if not line.strip():
        return None
    row = parse_json(line, where)
    if not isinstance(row, dict):
        raise ProblemError(f'{where} is a JSON {type(row).__name__}; wanted one object, as in {{"question": "..."}}')
    return row


def _integer(digits: str) -> int | str:
    """Python refuses to read integers of more than 4300 digits: those stay text, and no grader will verify them."""
    return int(digits) if len(digits) <= 4300 else digits
