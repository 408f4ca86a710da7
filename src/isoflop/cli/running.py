"""What the verbs that run a study share: make or resume a run, show its progress, print its table."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from isoflop.api import Run, folder_of
from isoflop.cli.guard import INTERRUPTED
from isoflop.cli.output import console
from isoflop.cli.progress import shown
from isoflop.studies.run import Executor, in_this_process
from isoflop.studies.spec import Study


def run_and_print(
    study: Study, out: Path | None, *, retry_errors: bool, as_json: bool, executor: Executor | None = None
) -> None:
    """Run what is missing, then print the table."""
    run = Run.create(study, out or folder_of(study))
    execute_shown(run, retry_errors=retry_errors, executor=executor)
    print_table(run, as_json=as_json)


def execute_shown(run: Run, *, retry_errors: bool, executor: Executor | None = None) -> None:
    """Run what is missing, with progress. Ctrl-C or SIGTERM leaves a run that the same command resumes."""
    command = shlex.join(["isoflop", *sys.argv[1:]])
    err = console(err=True)
    err.print(f"run folder: {run.folder}", soft_wrap=True)
    try:
        with _ending_in_order(), shown(err) as report:
            progress = run.execute(report, retry_errors=retry_errors, command=command, executor=executor)
    except KeyboardInterrupt:
        status = run.status()
        err.print(f"stopped: {status.done} of {status.total} attempts are stored in {run.folder}", soft_wrap=True)
        err.print(f"go on with: {command}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if progress.errors:
        err.print(f"{progress.errors} attempts failed; rerun them with --retry-errors", soft_wrap=True, style="yellow")


def on_this_machine(workers: int) -> Executor:
    """This process alone, or as many more."""
    if workers == 1:
        return in_this_process
    from isoflop.studies.processes import ProcessExecutor

    return ProcessExecutor(workers)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Take SIGTERM (a scheduler's time limit, `timeout`) as Ctrl-C, so that the session ends in order."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def print_table(
    run: Run, *, as_json: bool, exploratory: bool = False, markdown: bool = False, lam: float = 0.005
) -> None:
    """As wide as the terminal is; with `as_json` the last line is one JSON document."""
    from isoflop.report.table import Table
    from isoflop.report.text import render

    table = Table.of(run, lam)
    out = console()
    if markdown:
        typer.echo(table.to_markdown())
    else:
        out.print(render(table, out.width, exploratory=exploratory))
    if as_json:
        typer.echo(table.to_json())
