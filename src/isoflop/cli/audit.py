"""`isoflop audit FILE` or `RUN`: what results can and cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isoflop.cli.options import Json

if TYPE_CHECKING:
    from isoflop.audit.audit import Audit

EXAMPLES = (
    "isoflop audit published_runs.csv --candidates published_candidates.csv · isoflop audit runs/first"
    "\n\nisoflop audit samples_a.jsonl samples_b.jsonl (lm-eval, inspect or plain samples: accuracy and pairing only)"
)


def audit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="A CSV, sample files, or a run folder.")],
    candidates: Annotated[Path | None, typer.Option(help="CSV of the candidates behind the answers.")] = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", min=1, help="Assumed length of a prompt.")] = 80,
    form: Annotated[
        str | None, typer.Option("--format", help="Of samples: plain, lm_eval, inspect.", show_default="found out")
    ] = None,
    grader: Annotated[str, typer.Option(help="Of samples.")] = "math()",
    markdown: Annotated[bool, typer.Option("--markdown", help="For a readme.")] = False,
    json: Json = False,
) -> None:
    """Accuracy, every pair tested, what n can detect, measures recomputed, FLOPs re-estimated."""
    from isoflop.audit.layout import notes, sections
    from isoflop.cli.output import console, say_json
    from isoflop.report.markdown import titled_grids
    from isoflop.report.text import titled

    found, left_out = _audited(files, candidates, prompt_tokens, form, grader)
    remarks = [*(f"INCOMPLETE {line}" for line in left_out), *notes(found)]
    if markdown:
        typer.echo(titled_grids(sections(found), remarks))
    else:
        out = console()
        out.print(titled(sections(found), remarks, out.width))
    if json:
        say_json(found.to_dict() | {"left_out": left_out})


def _audited(
    files: list[Path], candidates: Path | None, prompt_tokens: int, form: str | None, grader: str
) -> tuple[Audit, list[str]]:
    """The audit, and what was left out of it."""
    from isoflop.audit.audit import Audit
    from isoflop.audit.from_run import read_run
    from isoflop.audit.published import read_published
    from isoflop.audit.samples import read_sample_files
    from isoflop.errors import SpecError
    from isoflop.studies.run import Run

    first, source = files[0], ", ".join(path.name or str(path) for path in files)
    is_csv, is_run = first.suffix.lower() == ".csv", first.is_dir()
    if len(files) > 1 and (is_csv or is_run):
        raise SpecError(f"{first} is audited by itself; several files are read where each holds the samples of one arm")
    if candidates is not None and not is_csv:
        raise SpecError("--candidates belongs to a CSV of results; samples and runs bring their own")
    if is_run:
        arms, left_out = read_run(Run.open(first))
        return Audit.of(arms, source), left_out
    if is_csv:
        arms = read_published(first, prompt_tokens=prompt_tokens, candidates=candidates)
        estimated = any(arm.compute.ideal is not None for arm in arms)
        return Audit.of(arms, source, prompt_tokens if estimated else None), []
    return Audit.of(read_sample_files(files, form, grader), source), []  # type: ignore[arg-type]
