"""The `samples_<task>_<date>.jsonl` that lm-evaluation-harness writes with --log_samples.

A line is one document under one filter: `doc_id`, `doc`, `target`, `arguments`, `resps` (the raw texts, a list of
repeats for each request), `filtered_resps`. Raw texts are read, so that isoflop's own grader reads the answers; a
document that comes again under another filter, with the same texts, is counted once. Tasks scored by log-likelihood
hold no texts and are refused.

    read_lm_eval(Path("samples_gsm8k_2026-01-31T10-00-00.000000.jsonl"))    # ids "gsm8k/0", "gsm8k/1", ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isoflop.errors import ProblemError
from isoflop.problems.imports.sample import ImportedSample, first_of
from isoflop.problems.rows import Row, final_answer, read_jsonl, text_in

QUESTION = ("question", "problem", "input", "query", "prompt")
_FILE_NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.:-]+")


def read_lm_eval(path: Path) -> Iterator[ImportedSample]:
    """The raw texts of every document, in file order."""
    named = _FILE_NAME.fullmatch(path.stem)
    task = named["task"] if named else path.stem
    seen: dict[str, list[str]] = {}
    for line, row in read_jsonl(path):
        where = f"{path} line {line}"
        name = f"{task}/{text_in(row, 'doc_id', where)}"
        texts = _texts(row, where)
        if seen.setdefault(name, texts) is not texts:
            if seen[name] != texts:
                raise ProblemError(f"{where}: {name} came before with other texts; import the runs one by one")
            continue
        question = _question(row, where)
        gold = final_answer(text_in(row, "target", where))
        for index, text in enumerate(texts):
            yield ImportedSample(name, question, gold, index, text)


def _texts(row: Row, where: str) -> list[str]:
    if any(isinstance(request[1], str) for request in _requests(row) if len(request) > 1):
        raise ProblemError(
            f"{where} was scored by log-likelihood: there is no text to vote on; import a generation task"
        )
    responses = row.get("resps")
    if not isinstance(responses, list) or not responses:
        raise ProblemError(f"{where} has no 'resps'; it has {', '.join(row)}")
    repeats = responses[0] if len(responses) == 1 and isinstance(responses[0], list) else responses
    for text in repeats:
        if not isinstance(text, str):
            raise ProblemError(f"{where}: 'resps' holds a {type(text).__name__}; wanted [[text, ...]]")
    return list(repeats)


def _requests(row: Row) -> list[list[Any]]:
    """The arguments of each request: a list of lists in memory, {"gen_args_0": {"arg_0": ...}} in saved files."""
    arguments = row.get("arguments")
    groups = arguments.values() if isinstance(arguments, dict) else arguments if isinstance(arguments, list) else []
    return [
        list(group.values()) if isinstance(group, dict) else group
        for group in groups
        if isinstance(group, (dict, list))
    ]


def _question(row: Row, where: str) -> str:
    """The document's own question where it has a known column, else the whole prompt that the model saw."""
    document = row.get("doc")
    column = first_of(document, QUESTION) if isinstance(document, dict) else None
    if column is not None and isinstance(document, dict):
        return text_in(document, column, f"{where} doc")
    prompts = [request[0] for request in _requests(row) if request]
    if not prompts:
        raise ProblemError(f"{where}: 'doc' has no question ({', '.join(QUESTION)}) and 'arguments' has no prompt")
    return str(prompts[0])
