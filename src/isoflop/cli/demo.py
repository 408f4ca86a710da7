"""`isoflop demo`: the published study's six configurations and the corrected ones, on the models in the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json

MOST_WORKERS = 4  # a container may show more cores than it has
EXAMPLES = "isoflop demo · isoflop demo --out runs/mine --json | tail -1 · isoflop demo --full"


def demo(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/demo-HASH")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that share the work.", show_default="one a core, up to 4"),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The registered study (docs/claim.md) on these models: hours; resumable.")
    ] = False,
    json: Json = False,
) -> None:
    """The study's story in minutes: trained models, generated problems, table, tests and figure. No download."""
    from isoflop.api import Run, folder_of
    from isoflop.cli.running import on_this_machine, run_and_print
    from isoflop.laboratory import CLAIM, DEMO
    from isoflop.studies.hardware import cores
    from isoflop.studies.study_file import load_study

    study = load_study(CLAIM if full else DEMO)
    folder = out or folder_of(study)
    executor = on_this_machine(workers or min(MOST_WORKERS, cores()))
    run_and_print(study, folder, retry_errors=False, as_json=False, executor=executor)
    opened = Run.open(folder)
    for file in opened.figure().save(folder / "figures"):
        typer.echo(file)
    if full:
        _claim(folder)
    if json:
        typer.echo(opened.table().to_json())


def _claim(folder: Path) -> None:
    """The hypotheses on this one training seed; the controls' models do not come with the package."""
    from dataclasses import replace

    from isoflop.api import Run
    from isoflop.claim.choices import Choices
    from isoflop.claim.evidence import Evidence
    from isoflop.claim.figure import figure_of
    from isoflop.claim.hypotheses import Claim
    from isoflop.claim.layout import notes, sections
    from isoflop.cli.output import console
    from isoflop.laboratory import CHOICES
    from isoflop.report.text import titled

    choices = replace(Choices.load(CHOICES), seconds={})
    found = Claim.of(Evidence.of_runs([Run.open(folder)], choices.labels), choices)
    out = console()
    out.print(titled(sections(found), notes(found), out.width))
    for file in figure_of(found).save(folder / "figures"):
        typer.echo(file)
