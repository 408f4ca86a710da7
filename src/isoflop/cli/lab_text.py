"""`isoflop lab text`: solved problems as text to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = (
    'isoflop lab text --stage "4000 hiddenops(ops=[1])" --stage "40000 hiddenops()" --out plain.jsonl'
    '\n\nisoflop lab text --stage "24000 hiddenops()" --form thoughts --out thoughts.jsonl'
)


def text(
    stage: Annotated[list[str], typer.Option("--stage", metavar="'COUNT PROBLEMS'", help="Repeatable, in order.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON Lines file to write.")],
    form: Annotated[str, typer.Option("--form", help="plain, thoughts, fillers, shuffled, scratchpad.")] = "plain",
    skipped: Annotated[float, typer.Option("--skipped", help="Share of longer lines without working, guessed.")] = 0.0,
    seed: Annotated[str, typer.Option("--seed", help="Draws the problems; any text.")] = "0",
) -> None:
    """Write solved train problems, stage after stage: a curriculum."""
    from isoflop.laboratory.text import stage_of, write_rows

    write_rows(out, [stage_of(each) for each in stage], form, seed, skipped)
    typer.echo(f"wrote {out}")
