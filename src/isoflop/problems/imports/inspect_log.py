"""Logs of inspect_ai: `.json`, and `.eval`, which is a zip of one JSON file a sample under `samples/`.

Epochs and choices of a sample become the samples of one problem. Log-probabilities are read where the model gave them;
scores are verdicts, not rewards, and are left to isoflop's own grader. Reasoning comes back inside think marks, so that
no answer is read from it. A sample that failed is an error here: leaving it out would change n.

    read_inspect(Path("2026-01-31T10-00-00_gsm8k_abc.eval"))      # ids as in the log
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isoflop.errors import ProblemError
from isoflop.problems.base import refuse_duplicates
from isoflop.problems.imports.sample import ImportedSample, token_logprobs
from isoflop.problems.rows import final_answer, parse_json, text_in

MOST_BYTES_A_SAMPLE = 1 << 28
ATTACHMENT = "attachment://"


def read_inspect(path: Path) -> Iterator[ImportedSample]:
    """The choices of every sample and epoch; epochs in their order, problems in the log's."""
    logged = list(_from_zip(path) if path.suffix == ".eval" else _from_json(path))
    refuse_duplicates([f"{name} epoch {epoch}" for _, name, epoch, _ in logged], str(path))
    order = {name: place for place, (_, name, _, _) in reversed(list(enumerate(logged)))}
    counts: dict[str, int] = {}
    for where, name, _, sample in sorted(logged, key=lambda entry: (order[entry[1]], entry[2])):
        question, gold = _question(sample, where), _gold(sample, where)
        for text, logprobs in _choices(sample, where):
            index = counts[name] = counts.get(name, -1) + 1
            yield ImportedSample(name, question, gold, index, text, logprobs)


_Logged = tuple[str, str, int, dict[str, Any]]  # where, problem id, epoch, sample


def _from_json(path: Path) -> Iterator[_Logged]:
    log = parse_json(path.read_bytes(), str(path))
    samples = log.get("samples") if isinstance(log, dict) else None
    if not isinstance(samples, list):
        raise ProblemError(f"{path} is no inspect log: it has no list of 'samples' (was it written without them?)")
    for index, sample in enumerate(samples):
        yield _logged(sample, f"{path} sample {index}")


def _from_zip(path: Path) -> Iterator[_Logged]:
    try:
        with zipfile.ZipFile(path) as log:
            members = [
                one for one in log.infolist() if one.filename.startswith("samples/") and one.filename.endswith(".json")
            ]
            for member in members:
                where = f"{path} {member.filename}"
                if member.file_size > MOST_BYTES_A_SAMPLE:
                    raise ProblemError(
                        f"{where} unpacks to {member.file_size} bytes; at most {MOST_BYTES_A_SAMPLE} are read"
                    )
                yield _logged(parse_json(log.read(member), where), where)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        # NotImplementedError, a RuntimeError, is how zipfile refuses a compression (newer logs may use Zstandard).
        fix = "convert it: inspect log convert LOG --to json --output-dir DIR"
        raise ProblemError(f"{path} cannot be unpacked ({error or type(error).__name__}); {fix}") from error


def _logged(sample: Any, where: str) -> _Logged:
    if not isinstance(sample, dict):
        raise ProblemError(f"{where} is a {type(sample).__name__}; wanted an object with id, input, target and output")
    epoch = sample.get("epoch", 1)
    if not isinstance(epoch, int):
        raise ProblemError(f"{where}: epoch {str(epoch)[:50]!r} is not a whole number")
    return where, text_in(sample, "id", where), epoch, sample


def _question(sample: dict[str, Any], where: str) -> str:
    """The input, or the last user message of one that is a conversation."""
    given = sample.get("input")
    if isinstance(given, list):
        asked = [message for message in given if isinstance(message, dict) and message.get("role") == "user"]
        if not asked:
            raise ProblemError(f"{where}: 'input' has no user message")
        return _content(asked[-1].get("content"), sample, f"{where} input")
    return _content(text_in(sample, "input", where), sample, f"{where} input")


def _gold(sample: dict[str, Any], where: str) -> str | None:
    target = sample.get("target")
    targets = target if isinstance(target, list) else [target]
    if len(targets) != 1:
        raise ProblemError(f"{where}: 'target' holds {len(targets)} answers; one is wanted")
    return final_answer(str(targets[0])) if targets[0] not in (None, "") else None


def _choices(sample: dict[str, Any], where: str) -> Iterator[tuple[str, tuple[float, ...] | None]]:
    output = sample.get("output")
    choices = output.get("choices") if isinstance(output, dict) else None
    if not isinstance(choices, list) or not choices:
        failed = sample.get("error")
        reason = failed.get("message") if isinstance(failed, dict) else "no output.choices"
        raise ProblemError(
            f"{where} has no output ({str(reason)[:200]}); finish the run (inspect eval-retry), then import"
        )
    for index, choice in enumerate(choices):
        at = f"{where} choice {index}"
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise ProblemError(f"{at} has no message")
        yield _content(message.get("content"), sample, at), _logprobs(choice.get("logprobs"), at)


def _logprobs(given: Any, where: str) -> tuple[float, ...] | None:
    tokens = given.get("content") if isinstance(given, dict) else None
    if not isinstance(tokens, list):
        return None
    values = [token.get("logprob") if isinstance(token, dict) else None for token in tokens]
    return token_logprobs(values, f"{where} logprobs")


def _content(content: Any, sample: dict[str, Any], where: str) -> str:
    """Text, or the texts of a list of parts; what the log keeps apart as attachments is put back."""
    if isinstance(content, str):
        return _attached(content, sample, where)
    if not isinstance(content, list):
        raise ProblemError(f"{where}: content is a {type(content).__name__}; wanted text or a list of parts")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(_attached(text_in(part, "text", where), sample, where))
        elif kind == "reasoning":
            texts.append(f"<think>{_attached(str(part.get('reasoning') or ''), sample, where)}</think>")
    return "".join(texts)


def _attached(text: str, sample: dict[str, Any], where: str) -> str:
    if not text.startswith(ATTACHMENT):
        return text
    attachments = sample.get("attachments")
    name = text.removeprefix(ATTACHMENT)
    if not isinstance(attachments, dict) or not isinstance(attachments.get(name), str):
        raise ProblemError(f"{where}: attachment {name[:80]!r} is not in the log")
    return str(attachments[name])
