"""Others' samples: each form is read, and what is missing or wrong is named with file and line."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from isoflop.errors import ProblemError
from isoflop.problems.imports import ImportedSample, import_samples


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_line(tmp_path: Path, **row: Any) -> tuple[ImportedSample, ...]:
    return import_samples(lines(tmp_path / "mine.jsonl", {"question": "6*7?", "answer": "42", **row}))


def test_plain_lines_of_many_samples_and_of_one_become_one_pool(tmp_path: Path) -> None:
    pool = import_samples(
        lines(
            tmp_path / "mine.jsonl",
            {"question": "6*7?", "answer": "so\n#### 42", "completions": ["42", "13"], "rewards": [0.9, None]},
            {"question": "1+1?", "answer": 2, "completion": "2", "logprobs": [-0.5, 0.0], "reward": 1},
            {"question": "6*7?", "answer": "so\n#### 42", "completion": "41"},
        )
    )
    assert pool == (
        ImportedSample("mine/0", "6*7?", "42", 0, "42", None, 0.9),
        ImportedSample("mine/0", "6*7?", "42", 1, "13", None, None),
        ImportedSample("mine/1", "1+1?", "2", 0, "2", (-0.5, 0.0), 1.0),
        ImportedSample("mine/0", "6*7?", "42", 2, "41", None, None),
    )


def test_plain_lines_may_have_ids_and_no_gold(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", {"id": 7, "problem": "?", "samples": ["a", ""], "logprobs": [[-1], []]})
    assert import_samples(file, "plain") == (
        ImportedSample("7", "?", None, 0, "a", (-1.0,)),
        ImportedSample("7", "?", None, 1, "", ()),
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, r"mine.jsonl line 1 has no samples: wanted one of completions, .*; it has question, answer"),
        ({"completions": []}, r"line 1: column 'completions' must be a list with at least one text"),
        ({"completions": "42"}, r"column 'completions' must be a list"),
        ({"completions": [42]}, r"completions\[0\] is a int; wanted text"),
        ({"completions": ["a", "b"], "rewards": [1]}, r"'rewards' must be a list of 2 entries, one a sample; it is 1"),
        (
            {"completions": ["a"], "rewards": [[0.1, 0.2]]},
            r"reward of sample 0 is a list; aggregate step rewards first",
        ),
        ({"completions": ["a"], "rewards": [float("nan")]}, r"reward of sample 0: 'nan' is not a finite number"),
        ({"completions": ["a"], "rewards": [10**400]}, r"is not a finite number"),
        ({"completions": ["a"], "rewards": [True]}, r"'True' is not a finite number"),
        ({"completions": ["a"], "logprobs": [-3.5]}, r"logprobs of sample 0: wanted a list with one number a token"),
        ({"completion": "a", "logprobs": [-1, 0.7]}, r"0.7 is above 0; log-probabilities in nats are wanted"),
        ({"question": " ", "completion": "a"}, r"line 1: column 'question' is empty"),
    ],
)
def test_a_bad_plain_line_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        read_line(tmp_path, **row)


def test_one_id_with_two_questions_is_refused(tmp_path: Path) -> None:
    rows = [{"id": "q", "question": f"{n}?", "gold": 1, "completion": "1"} for n in (1, 2)]
    with pytest.raises(ProblemError, match=r"line 2: problem 'q' had another question or gold"):
        import_samples(lines(tmp_path / "a.jsonl", *rows))


def test_a_megabyte_in_one_sample_is_read(tmp_path: Path) -> None:
    assert len(read_line(tmp_path, completions=["9" * 1_000_000 + "{" * 100_000])[0].text) == 1_100_000


def lm_eval_row(doc_id: int, texts: list[str], filter_name: str, **changed: Any) -> dict[str, Any]:
    return {
        "doc_id": doc_id,
        "doc": {"question": f"{doc_id}+1?", "answer": f"so\n#### {doc_id + 1}"},
        "target": f"so\n#### {doc_id + 1}",
        "arguments": {"gen_args_0": {"arg_0": f"Q: {doc_id}+1?\nA:", "arg_1": {"until": ["Q:"], "do_sample": True}}},
        "resps": [texts],
        "filtered_resps": ["[invalid]"],
        "filter": filter_name,
        "exact_match": 0.0,
        **changed,
    }


LM_EVAL_NAME = "samples_gsm8k_cot_2026-01-31T10-00-00.123456.jsonl"


def test_lm_eval_raw_texts_are_read_once_whatever_the_filters(tmp_path: Path) -> None:
    rows = [lm_eval_row(n, [f"{n}", f"{n + 1}"], one) for one in ("strict-match", "flexible-extract") for n in (0, 1)]
    assert import_samples(lines(tmp_path / LM_EVAL_NAME, *rows)) == (
        ImportedSample("gsm8k_cot/0", "0+1?", "1", 0, "0"),
        ImportedSample("gsm8k_cot/0", "0+1?", "1", 1, "1"),
        ImportedSample("gsm8k_cot/1", "1+1?", "2", 0, "1"),
        ImportedSample("gsm8k_cot/1", "1+1?", "2", 1, "2"),
    )


def test_an_lm_eval_document_without_a_question_gives_the_prompt(tmp_path: Path) -> None:
    row = lm_eval_row(0, ["1"], "none", doc={"stem": "?"})
    assert import_samples(lines(tmp_path / "some.jsonl", row))[0].question == "Q: 0+1?\nA:"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " yes"}}}, r"line 1 was scored by log-likelihood"),
        ({"resps": []}, r"line 1 has no 'resps'; it has doc_id, doc, target"),
        ({"resps": [[3.5]]}, r"'resps' holds a float"),
        ({"target": None}, r"line 1 has no column 'target'"),
        ({"doc": {}, "arguments": []}, r"'doc' has no question .* and 'arguments' has no prompt"),
    ],
)
def test_a_bad_lm_eval_line_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        import_samples(lines(tmp_path / LM_EVAL_NAME, lm_eval_row(0, ["1"], "none", **changed)))


def test_two_lm_eval_runs_in_one_file_are_refused(tmp_path: Path) -> None:
    rows = [lm_eval_row(0, ["1"], "none"), lm_eval_row(0, ["2"], "none")]
    with pytest.raises(ProblemError, match=r"line 2: gsm8k_cot/0 came before with other texts"):
        import_samples(lines(tmp_path / LM_EVAL_NAME, *rows))


def inspect_sample(name: str, epoch: int, content: Any, **changed: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": content}, "stop_reason": "stop"}
    given = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"{name}?"}]
    sample = {"id": name, "epoch": epoch, "input": given, "target": "42", "output": {"choices": [choice]}}
    return {**sample, **changed}


def inspect_log(path: Path, *samples: dict[str, Any]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps({"version": 2, "status": "success", "samples": list(samples)}))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as log:
        log.writestr("header.json", json.dumps({"version": 2, "status": "success"}))
        for sample in samples:
            log.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    return path


@pytest.mark.parametrize("name", ["run.json", "run.eval"])
def test_inspect_epochs_become_samples_in_order(tmp_path: Path, name: str) -> None:
    reasoned = [{"type": "reasoning", "reasoning": "13?"}, {"type": "text", "text": "42"}]
    logprobs = {"content": [{"token": "4", "logprob": -0.25}, {"token": "2", "logprob": -0.5}]}
    two = {"choices": [{"message": {"content": "41"}, "logprobs": logprobs}, {"message": {"content": "40"}}]}
    log = inspect_log(
        tmp_path / name,
        inspect_sample("b", 2, "43"),
        inspect_sample("a", 1, "", output=two, input="a?", target=["42"]),
        inspect_sample("b", 1, reasoned, target=""),
    )
    assert import_samples(log) == (
        ImportedSample("b", "b?", None, 0, "<think>13?</think>42"),
        ImportedSample("b", "b?", "42", 1, "43"),
        ImportedSample("a", "a?", "42", 0, "41", (-0.25, -0.5)),
        ImportedSample("a", "a?", "42", 1, "40"),
    )


def test_inspect_attachments_are_put_back(tmp_path: Path) -> None:
    sample = inspect_sample("a", 1, "attachment://f00", attachments={"f00": "long text"})
    assert import_samples(inspect_log(tmp_path / "run.json", sample))[0].text == "long text"
    lost = inspect_sample("a", 1, "attachment://f00")
    with pytest.raises(ProblemError, match="attachment 'f00' is not in the log"):
        import_samples(inspect_log(tmp_path / "run.json", lost))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": {}, "error": {"message": "timeout"}}, r"sample 0 has no output \(timeout\); finish the run"),
        ({"target": ["1", "2"]}, r"'target' holds 2 answers; one is wanted"),
        ({"input": [{"role": "system", "content": "x"}]}, r"'input' has no user message"),
        ({"epoch": "one"}, r"epoch 'one' is not a whole number"),
        ({"output": {"choices": [{}]}}, r"choice 0 has no message"),
        ({"id": None}, r"sample 0 has no column 'id'"),
    ],
)
def test_a_bad_inspect_sample_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        import_samples(inspect_log(tmp_path / "run.json", {**inspect_sample("a", 1, "42"), **changed}))


def test_files_that_are_no_logs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.eval").write_bytes(b"not a zip")
    with pytest.raises(ProblemError, match=r"run.eval cannot be unpacked \(File is not a zip file\); convert it"):
        import_samples(tmp_path / "run.eval")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ProblemError, match="is no inspect log: it has no list of 'samples'"):
        import_samples(tmp_path / "run.json")
    with pytest.raises(ProblemError, match="epoch 1' occurs twice"):
        import_samples(inspect_log(tmp_path / "run.json", *[inspect_sample("a", 1, "42")] * 2))
    with pytest.raises(ProblemError, match="holds no samples"):
        import_samples(lines(tmp_path / "empty.jsonl"))
    with pytest.raises(ProblemError, match="'csv' is unknown; allowed: inspect, lm_eval, plain"):
        import_samples(tmp_path / "empty.jsonl", "csv")


def test_an_unknown_compression_says_how_to_convert(tmp_path: Path) -> None:
    log = inspect_log(tmp_path / "run.eval", inspect_sample("a", 1, "42"))
    data = bytearray(log.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # method fields: 8 (deflate) becomes 93 (zstd)
        start = -1
        while (start := data.find(signature, start + 1)) >= 0:
            data[start + offset] = 93
    log.write_bytes(data)
    with pytest.raises(ProblemError, match=r"cannot be unpacked .*inspect log convert"):
        import_samples(log)
