"""`isoflop table RUN`: the table of a run, finished or not."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import Json, RunFolder

EXAMPLES = (
    "isoflop table runs/first · isoflop table runs/first --json | tail -1 · isoflop table runs/first --markdown"
    "\n\nA wider terminal shows more columns; --json has them all."
)


def table(
    run: RunFolder,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a readme.")] = False,
    exploratory: Annotated[bool, typer.Option("--exploratory", help="Also pairs that were not declared.")] = False,
    lam: Annotated[float, typer.Option("--lambda", min=0, help="What a greedy answer's compute costs in J.")] = 0.005,
) -> None:
    """Accuracy with intervals, cost, declared tests, equal FLOPs, every k from one pool."""
    from isoflop.api import Run
    from isoflop.cli.running import print_table

    print_table(Run.open(run), as_json=json, exploratory=exploratory, markdown=markdown, lam=lam)
