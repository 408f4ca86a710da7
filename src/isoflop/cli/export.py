"""`isoflop export RUN`: a run as plain tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json, RunFolder

EXAMPLES = (
    "isoflop export runs/first --format parquet -o tables"
    "\n\nduckdb -c \"select arm, avg(correct::int) from 'tables/attempts.parquet' group by arm\""
    "\n\nTables: attempts, candidates, nodes, thoughts. Columns: docs/record-format.md"
)


def export(
    run: RunFolder,
    form: Annotated[str, typer.Option("--format", help="parquet, jsonl, or csv.")] = "parquet",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the files.", show_default="RUN/export")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="One table; repeatable.", show_default="all four")
    ] = None,
    json: Json = False,
) -> None:
    """Attempts, candidates, nodes and thoughts as tables for pandas, polars, DuckDB, datasets, or a spreadsheet."""
    from isoflop.api import Run
    from isoflop.cli.output import say_json
    from isoflop.report.export import export as write
    from isoflop.report.export_schema import TABLES

    opened = Run.open(run)
    files = write(opened, out or opened.folder / "export", form, table or tuple(TABLES))
    for file in files:
        typer.echo(file)
    if json:
        say_json({"files": [str(file) for file in files]})
