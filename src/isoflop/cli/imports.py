"""`isoflop import FILE`: others' samples, voted on and compared without generating anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json

EXAMPLES = (
    "isoflop import samples.jsonl · isoflop import samples_gsm8k.jsonl --format lm_eval · isoflop import log.eval"
    "\n\nPlain JSON Lines want a question, an answer and a sample a line; rewards and log-probabilities are read where "
    "they are there."
)


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Samples: JSON Lines, lm-eval, inspect.")],
    form: Annotated[
        str | None, typer.Option("--format", help="plain, lm_eval or inspect.", show_default="found out")
    ] = None,
    strategies: Annotated[
        list[str] | None, typer.Option("--strategies", help="Repeatable.", show_default="votes at 1, 2, 4, ...")
    ] = None,
    reward: Annotated[str | None, typer.Option("--reward", show_default="the file's, else logprob()")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/imported-HASH")
    ] = None,
    json: Json = False,
) -> None:
    """Read samples into a run: majority, weighted, best-of and pass@k for every k that the file allows."""
    from isoflop.cli.running import run_and_print
    from isoflop.studies.imported import imported_study

    study = imported_study(str(file), strategies or (), form=form, reward=reward)  # type: ignore[arg-type]
    run_and_print(study, out, retry_errors=False, as_json=json)
