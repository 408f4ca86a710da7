"""Reading JSON Lines: what is taken, and what is refused with file and line."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.errors import ProblemError
from isoflop.problems.jsonl import JSONLines
from isoflop.problems.rows import final_answer, parse_json


def written(folder: Path, content: bytes | str, name: str = "exam.jsonl") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_byte_order_mark_crlf_blank_lines_and_numbers_are_taken(tmp_path: Path) -> None:
    rows = ['{"question": "six times seven?", "answer": 42}', "", '{"question": "ünd?", "answer": "−3"}', "   "]
    path = written(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    problems = JSONLines(path).load("test")
    assert [(one.id, one.question, one.answer) for one in problems] == [
        ("exam/test/0", "six times seven?", "42"),
        ("exam/test/1", "ünd?", "−3"),
    ]


def test_columns_and_ids_are_yours_and_dev_is_its_own_file(tmp_path: Path) -> None:
    test = written(tmp_path, '{"problem": "a?", "gold": 0.5, "name": "q7"}')
    dev = written(tmp_path, '{"problem": "b?", "gold": 1, "name": "q8"}', "practice.jsonl")
    exam = JSONLines(test, question="problem", answer="gold", id="name", dev=dev)
    assert [(one.id, one.answer) for one in exam.load("test") + exam.load("dev")] == [("q7", "0.5"), ("q8", "1")]
    assert JSONLines(test, question="problem", answer=None).load("test")[0].answer is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"question": "b?"}', r"exam.jsonl line 3 has no column 'answer'; allowed: question"),
        (b'{"qestion": "b?", "answer": 1}', r"line 3 has no column 'question'; did you mean 'qestion'\?"),
        (b'{"question": "  ", "answer": 1}', r"line 3: column 'question' is empty"),
        (b'{"question": ["b?"], "answer": 1}', r"line 3: column 'question' holds a list; wanted text or a number"),
        (b'{"question": "b?", "answer": null}', r"line 3 has no column 'answer'"),
        (b'{"question": "b?", "answer"', r"line 3 is not JSON"),
        (b'["b?", 1]', r"line 3 is a JSON list; wanted one object"),
        (b'{"question": "\xff?", "answer": 1}', r"line 3: byte 15 is not UTF-8"),
        (b"[" * 100_000, r"line 3 is not JSON"),
        (b'{"id": 1, "question": "b?", "answer": 1, "question": ""}', r"line 3: column 'question' is empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = written(tmp_path, b'{"question": "a?", "answer": 1}\n\n' + line + b"\n")
    with pytest.raises(ProblemError, match=message):
        JSONLines(path).load("test")


def test_missing_files_folders_and_splits_are_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="does not exist"):
        JSONLines(str(tmp_path / "none.jsonl")).load("test")
    with pytest.raises(ProblemError, match="is a folder; give the file"):
        JSONLines(str(tmp_path)).load("test")
    with pytest.raises(ProblemError, match="has no problem in test"):
        JSONLines(written(tmp_path, "\n\n")).load("test")
    with pytest.raises(ProblemError, match=r"declares no dev; .*dev='dev.jsonl'"):
        JSONLines("exam.jsonl").load("dev")
    with pytest.raises(ProblemError, match="id 'x' occurs twice"):
        JSONLines(written(tmp_path, '{"i":"x","question":"a","answer":1}\n' * 2), id="i").load("test")


def test_a_megabyte_of_digits_and_a_huge_line_are_read(tmp_path: Path) -> None:
    row = '{"question": "' + "why " * 500_000 + '", "answer": ' + "7" * 1_000_000 + "}"
    problem = JSONLines(written(tmp_path, row)).load("test")[0]
    assert len(problem.question) == 2_000_000
    assert problem.answer == "7" * 1_000_000


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_parsed_or_refused_but_never_crash(data: bytes) -> None:
    with contextlib.suppress(ProblemError):
        parse_json(data, "here")


@given(question=st.text(min_size=1).filter(str.strip), answer=st.integers())
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, question: str, answer: int) -> None:
    path = written(tmp_path_factory.mktemp("rows"), json.dumps({"question": question, "answer": answer}))
    assert [(one.question, one.answer) for one in JSONLines(path).load("test")] == [(question, str(answer))]


@pytest.mark.parametrize(
    ("solution", "answer"),
    [("6*7\n#### 42", "42"), ("#### 1 then #### 1,248", "1248"), ("1,248", "1,248"), ("#### -3 ", "-3")],
)
def test_the_gold_answer_stands_behind_the_last_hashes(solution: str, answer: str) -> None:
    assert final_answer(solution) == answer
