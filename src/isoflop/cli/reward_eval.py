"""`isoflop reward eval`: how good rewards are, beside log-probability and chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json
from isoflop.errors import SpecError

EXAMPLES = (
    "isoflop reward eval labels.jsonl --rewards \"trunk(path='heads/first')\" · isoflop reward eval runs/first"
    "\n\nlogprob() and random() are always judged along: a reward that does not beat them earns nothing."
)


def evaluate(
    source: Annotated[str, typer.Argument(metavar="LABELS_OR_RUN", help="Labelled solutions, or a run's folder.")],
    rewards: Annotated[list[str] | None, typer.Option("--rewards", help="Repeatable.", show_default="none")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="outcome, hard, soft or exact.", show_default="the file's")
    ] = None,
    processbench: Annotated[Path | None, typer.Option("--processbench", help="JSONL: first-error F1 on it.")] = None,
    grader: Annotated[str | None, typer.Option("--grader", show_default="the run's; of a file: math()")] = None,
    held_out_of: Annotated[
        Path | None, typer.Option("--held-out-of", help="Only the problems that this training held out.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for calibrations and the figure.")] = Path("judged"),
    dtype: Annotated[str, typer.Option("--dtype")] = "auto",
    device: Annotated[str, typer.Option("--device")] = "auto",
    json: Json = False,
) -> None:
    """AUC of steps, first-error F1, calibration, and what choosing by each reward gains."""
    from isoflop.cli.output import console, grid, say_json
    from isoflop.reward_training import evaluation_report as report
    from isoflop.reward_training.evaluate import evaluate as judged
    from isoflop.reward_training.labels import LABEL_KINDS

    if kind is not None and kind not in LABEL_KINDS:
        raise SpecError(f"--kind {kind!r} is unknown; allowed: {', '.join(LABEL_KINDS)}")
    found = judged(
        source,
        rewards or (),
        out=out,
        kind=kind,
        processbench=processbench,
        grader=grader,
        held_out_of=held_out_of,
        dtype=dtype,
        device=device,
    )
    shown = console()
    for title, places in (("Steps", (0, 1, 2, 3, 4, 5)), ("Choosing", (0, 6, 7))):  # together wider than a terminal
        rows = [[row[place] for place in places] for row in report.rows(found)]
        shown.print(grid(title, [report.COLUMNS[place] for place in places], rows))
    for line in [*report.summary_lines(found), *found.notes]:
        shown.print(line, markup=False)
    files = [*found.files, *report.figures(found).save(out)]
    for file in files:
        typer.echo(file)
    if json:
        say_json({**report.to_dict(found), "files": [str(file) for file in files]})
