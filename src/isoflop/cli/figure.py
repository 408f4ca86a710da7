"""`isoflop figure RUN`: the figures of a run, as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json, RunFolder

EXAMPLES = "isoflop figure runs/first -o figures"


def figure(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the files.", show_default="RUN/figures")
    ] = None,
    json: Json = False,
) -> None:
    """The three panels (FLOPs, runtime, efficiency score), accuracy at cost with the frontier, accuracy by k."""
    from isoflop.api import Run
    from isoflop.cli.output import say_json

    opened = Run.open(run)
    files = opened.figure().save(out or opened.folder / "figures")
    for file in files:
        typer.echo(file)
    if json:
        say_json({"files": [str(file) for file in files]})
