"""`isoflop claim`: fix the choices on dev, and evaluate the registered hypotheses on test (docs/claim.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.guard import guarded
from isoflop.cli.options import Json

EXAMPLES = (
    "isoflop claim choose runs/dev-seed-* --families families.toml --out choices.toml"
    "\n\nisoflop claim test runs/test-seed-* --choices choices.toml --timing time-seed-0.txt --timing time-seed-1.txt"
)
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="A run folder for each training seed.")]
Timings = Annotated[
    list[Path] | None, typer.Option("--timing", help="What `isoflop time --json` printed, one a run; repeatable.")
]


def choose(
    runs: Runs,
    families: Annotated[Path, typer.Option(help="TOML: unit, and the arms of B, T, S and C.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the choices.")],
    timing: Timings = None,
) -> None:
    """Fix one arm, or a mixture of two, for each family and budget, by dev accuracy."""
    import tomllib

    from isoflop.claim.choose import choose as fixed
    from isoflop.claim.evidence import Evidence
    from isoflop.errors import StudyError
    from isoflop.studies.run import Run

    try:
        declared = tomllib.loads(families.read_text(encoding="utf-8"))
        unit, tried = declared["unit"], {name: list(declared[name]) for name in ("B", "T", "S", "C")}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StudyError(f"{families}: wanted TOML with unit, B, T, S and C, lists of labels: {error}") from None
    labels = list(dict.fromkeys([unit, *(label for own in tried.values() for label in own)]))
    evidence = Evidence.of_runs([Run.open(run) for run in runs], labels)
    if timing:
        evidence = evidence.with_seconds(timing)
    out.write_text(fixed(evidence, unit, tried).to_toml(), encoding="utf-8")
    typer.echo(f"choices: {out}")


def evaluate(
    runs: Runs,
    choices: Annotated[Path, typer.Option(help="What dev fixed.")],
    timing: Timings = None,
    controls: Annotated[
        list[Path] | None, typer.Option("--controls", help="A run with the controls' arms for each run; repeatable.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap draws.")] = 10_000,
    figure: Annotated[Path | None, typer.Option("--figure", help="Folder for the figure.", show_default="none")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a readme.")] = False,
    json: Json = False,
) -> None:
    """Evaluate H0 to H4, and the controls, on stored runs."""
    from isoflop.claim.choices import Choices
    from isoflop.claim.evidence import Evidence
    from isoflop.claim.hypotheses import Claim
    from isoflop.claim.layout import notes, sections
    from isoflop.cli.output import console, say_json
    from isoflop.report.markdown import titled_grids
    from isoflop.report.text import titled
    from isoflop.studies.run import Run

    declared = Choices.load(choices)
    opened = [Run.open(run) for run in runs]
    evidence, beside = Evidence.of_runs(opened, declared.labels), None
    if timing:
        evidence = evidence.with_seconds(timing)
    if controls:
        beside = Evidence.of_runs(opened, declared.beside_controls, [Run.open(run) for run in controls])
    found = Claim.of(evidence, declared, beside, resamples=resamples)
    if markdown:
        typer.echo(titled_grids(sections(found), notes(found)))
    else:
        out = console()
        out.print(titled(sections(found), notes(found), out.width))
    if figure:
        from isoflop.claim.figure import figure_of

        for file in figure_of(found).save(figure):
            typer.echo(file)
    if json:
        say_json(found.to_dict())


app = typer.Typer(help="The registered claim: choices on dev, hypotheses on test.", no_args_is_help=True)
app.command("choose", epilog=EXAMPLES)(guarded(choose))
app.command("test", epilog=EXAMPLES)(guarded(evaluate))
