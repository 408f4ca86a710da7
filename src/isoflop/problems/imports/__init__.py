"""Others' samples, read into one form: plain JSON Lines, lm-evaluation-harness samples, inspect_ai logs.

Once read, every vote, best-of and pass@k curve follows without generating anything. This package reads and checks; it
does not grade and does not store.

    samples = import_samples("samples_gsm8k_2026-01-31T10-00-00.000000.jsonl")
    samples[0].problem_id, samples[0].index, samples[0].text        # "gsm8k/0", 0, "..."
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from isoflop.errors import ProblemError, did_you_mean
from isoflop.problems.base import refuse_duplicates
from isoflop.problems.imports.inspect_log import read_inspect
from isoflop.problems.imports.lm_eval import read_lm_eval
from isoflop.problems.imports.plain import read_plain
from isoflop.problems.imports.sample import ImportedSample
from isoflop.problems.rows import open_file, read_jsonl

__all__ = ["ImportedSample", "SampleFormat", "import_samples"]

SampleFormat = Literal["plain", "lm_eval", "inspect"]
_READERS: dict[str, Callable[[Path], Iterator[ImportedSample]]] = {
    "plain": read_plain,
    "lm_eval": read_lm_eval,
    "inspect": read_inspect,
}


def import_samples(path: str | Path, form: SampleFormat | None = None) -> tuple[ImportedSample, ...]:
    """All samples of a file, in its order. `form` is found out from the file where it is not given.

    Raises ProblemError with file, line and what was missing; nothing is skipped silently.
    """
    file = open_file(Path(path).expanduser())
    if form is not None and form not in _READERS:
        raise ProblemError(f"sample form {form!r} is unknown{did_you_mean(form, get_args(SampleFormat))}")
    samples = tuple(_READERS[form or _form_of(file)](file))
    if not samples:
        raise ProblemError(f"{file} holds no samples")
    refuse_duplicates([f"{sample.problem_id} sample {sample.index}" for sample in samples], str(file))
    return samples


def _form_of(file: Path) -> SampleFormat:
    if file.suffix in (".eval", ".json"):
        return "inspect"
    first = next(read_jsonl(file), None)
    return "lm_eval" if first is not None and {"doc", "resps"} <= set(first[1]) else "plain"
