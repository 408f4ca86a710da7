"""`isoflop study run FILE`: run a study, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json, RetryErrors, Settings, StudyFile, settings_of

EXAMPLES = (
    "isoflop study run recipes/gsm8k-qwen.toml --set model=DIR --set data=DIR"
    "\n\nThe same command goes on where an earlier one was stopped: finished attempts are never made again."
)


def run(
    study: StudyFile,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/NAME-HASH")] = None,
    settings: Settings = None,
    retry_errors: RetryErrors = False,
    json: Json = False,
) -> None:
    """Run a study file, with progress; the same command resumes it. Prints its table at the end."""
    from isoflop.cli.running import run_and_print
    from isoflop.studies.study_file import load_study

    run_and_print(load_study(study, settings_of(settings)), out, retry_errors=retry_errors, as_json=json)
