"""A run as plain tables, for pandas, polars, DuckDB, `datasets` or a spreadsheet.

    export(Run.open("runs/first"), "out", "parquet")      # out/attempts.parquet, candidates, nodes, thoughts

Rows are written as they are read, so a run of any size fits into memory. A missing value is null (CSV: an empty field;
an empty text is written `""`). Columns: `export_schema.py`, docs/record-format.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, get_args

from isoflop.cost.ledger import ROLES, ZERO, Cost
from isoflop.errors import MissingExtraError, SpecError, StoreError, did_you_mean
from isoflop.report.export_schema import BOOK_FIELDS, TABLES, Field
from isoflop.report.fate import Fate, fates
from isoflop.studies.record import Node, Record, storable
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm

Format = Literal["parquet", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
_ROWS_AT_ONCE = 5000  # of Parquet: a row group

Row = dict[str, Any]
Write = Callable[[Row], None]
_FATES = {Fate.GREW: "expanded"} | {fate: fate.name.lower() for fate in Fate if fate is not Fate.GREW}


def export(run: Run, folder: str | Path, form: str, tables: Sequence[str] = tuple(TABLES)) -> list[Path]:
    """Write the tables into a folder; returns the files. SpecError for an unknown format or table, StoreError where
    the files cannot be written, MissingExtraError where Parquet lacks its package."""
    if form not in FORMATS:
        raise SpecError(f"--format {form!r}{did_you_mean(form, FORMATS)}")
    for name in tables:
        if name not in TABLES:
            raise SpecError(f"--table {name!r}{did_you_mean(name, TABLES)}")
    folder = Path(folder)
    files = {name: folder / f"{name}.{form}" for name in TABLES if name in tables}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            writers = {name: _writer(stack, path, form, TABLES[name]) for name, path in files.items()}
            for record in run.attempts:
                for name, write in writers.items():
                    for row in _ROWS[name](run, record):
                        write(row)
    except OSError as error:
        raise StoreError(f"{folder}: the tables cannot be written ({error.strerror}); choose another folder") from None
    return list(files.values())


def _key(run: Run, record: Record) -> Row:
    return {"run": run.study.hash, "arm": record.arm, "problem": record.problem.id, "seed": record.seed}


def _attempt_rows(run: Run, record: Record) -> Iterator[Row]:
    arm: Arm = run.study.arm(record.arm)
    chosen = None if record.chosen is None else record.candidates[record.chosen].node
    row = _key(run, record) | {
        "question": record.problem.question,
        "gold": record.problem.answer,
        "model": str(arm.engine),
        "strategy": str(arm.strategy),
        "reward": None if arm.reward is None else str(arm.reward),
        "outcome": record.outcome.value,
        "correct": record.correct,
        "answer": record.answer,
        "stop": record.stop.value,
        "message": record.message,
        "chosen_node": chosen,
        "tied": len(record.tied),
        "candidates": len(record.candidates),
        "nodes": len(record.nodes),
        "wall_seconds": record.seconds,
        "overshoot_seconds": record.overshoot_seconds,
        "prompt": record.prompt_text,
        "solution": None if chosen is None else record.solution(chosen),
    }
    for book, costs in (("charged", record.charged), ("spent", record.spent)):
        by_role: dict[str, Cost] = {role: costs.get(role, ZERO) for role in ROLES}
        for role, cost in {"total": sum(by_role.values(), ZERO), **by_role}.items():
            row |= {f"{book}_{role}_{name}": _amount(cost, name) for name in BOOK_FIELDS}
    yield row


def _amount(cost: Cost, name: str) -> float:
    value: float = getattr(cost, name)
    return float(value) if name.endswith(("flops", "bytes", "seconds")) else value  # beyond 2^63 a float still holds it


def _candidate_rows(run: Run, record: Record) -> Iterator[Row]:
    for place, one in enumerate(record.candidates):
        yield _key(run, record) | {
            "node": one.node,
            "answer": one.answer,
            "label": one.label,
            "weight": one.weight,
            "fallback": one.fallback,
            "outcome": one.outcome.value,
            "chosen": place == record.chosen,
            "text": record.solution(one.node),
        }


def _node_rows(run: Run, record: Record) -> Iterator[Row]:
    for place, (node, fate) in enumerate(zip(record.nodes, fates(record.outline(), record), strict=True)):
        yield _key(run, record) | {"node": place, "fate": _FATES[fate]} | _node(node)


def _node(node: Node) -> Row:
    step, cost = node.step, node.cost
    return {
        "parent": node.parent,
        "depth": node.depth,
        "text": step.text,
        "reward": node.reward,
        "end": step.end.value,
        "channel": step.channel.value,
        "tokens": len(step.tokens),
        "forced": step.forced,
        "logprob": sum(step.logprobs),
        "flops": None if cost is None else float(cost.flops),
        "reward_flops": None if cost is None else float(cost.reward_flops),
        "cached_tokens": None if cost is None else cost.cached_tokens,
        "read_tokens": None if cost is None else cost.read_tokens,
        "seconds": None if cost is None else cost.seconds,
    }


def _thought_rows(run: Run, record: Record) -> Iterator[Row]:
    for place, node in enumerate(record.nodes):
        for one in node.step.thoughts:
            yield _key(run, record) | {
                "node": place,
                "at": one.at,
                "text": one.text,
                "tokens": len(one.tokens),
                "weight": one.weight,
                "plain": one.plain,
                "mixed": one.mixed,
            }


_ROWS: Mapping[str, Callable[[Run, Record], Iterator[Row]]] = {
    "attempts": _attempt_rows,
    "candidates": _candidate_rows,
    "nodes": _node_rows,
    "thoughts": _thought_rows,
}


def _writer(stack: ExitStack, path: Path, form: str, fields: Sequence[Field]) -> Write:
    if form == "parquet":
        return _parquet(stack, path, fields)
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    return _jsonl(file, fields) if form == "jsonl" else _csv(file, fields)


def _jsonl(file: IO[str], fields: Sequence[Field]) -> Write:
    def write(row: Row) -> None:
        file.write(storable(json.dumps({one.name: row[one.name] for one in fields}, ensure_ascii=False)) + "\n")

    return write


def _csv(file: IO[str], fields: Sequence[Field]) -> Write:
    # Every text is quoted: an empty one differs from a missing one, and lines and commas stay inside.
    file.write(",".join(one.name for one in fields) + "\n")

    def write(row: Row) -> None:
        file.write(",".join(_csv_cell(row[one.name]) for one in fields) + "\n")

    return write


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + storable(value).replace('"', '""') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parquet(stack: ExitStack, path: Path, fields: Sequence[Field]) -> Write:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            "Parquet needs pyarrow, which is not installed; install it: pip install 'isoflop[report]', or write jsonl"
        ) from None
    kinds = {"text": pyarrow.string(), "whole": pyarrow.int64(), "real": pyarrow.float64(), "yes/no": pyarrow.bool_()}
    schema = pyarrow.schema([(one.name, kinds[one.kind]) for one in fields])
    writer = stack.enter_context(parquet.ParquetWriter(path, schema, compression="zstd"))
    waiting: list[Row] = []

    def flush() -> None:
        columns = [pyarrow.array([_held(row[one.name]) for row in waiting], type=kinds[one.kind]) for one in fields]
        writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
        waiting.clear()

    def write(row: Row) -> None:
        waiting.append(row)
        if len(waiting) >= _ROWS_AT_ONCE:
            flush()

    stack.callback(flush)
    return write


def _held(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value
