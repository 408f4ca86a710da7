"""`isoflop study run FILE`: run a study, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isoflop.cli.options import Json, RetryErrors, Settings, StudyFile, settings_of

if TYPE_CHECKING:
    from isoflop.studies.run import Executor as RunsOn

Executor = Literal["process", "ray"]
EXAMPLES = (
    "isoflop study run recipes/gsm8k-qwen.toml --set model=DIR --set data=DIR"
    "\n\nThe same command goes on where an earlier one was stopped: finished attempts are never made again."
    "\n\nisoflop study run STUDY --workers 2: on two processes of this machine; the records are the same."
)


def run(
    study: StudyFile,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/NAME-HASH")] = None,
    settings: Settings = None,
    retry_errors: RetryErrors = False,
    executor: Annotated[Executor, typer.Option("--executor", help="This machine, or a Ray cluster.")] = "process",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Processes that share the work.", show_default="1; of a cluster: as many as fit"
        ),
    ] = None,
    address: Annotated[str, typer.Option("--address", help="Of the Ray cluster; auto: this machine's.")] = "auto",
    cpus: Annotated[float, typer.Option("--cpus-per-worker", min=0, help="Of the node that holds it.")] = 1.0,
    gpus: Annotated[
        float | None, typer.Option("--gpus-per-worker", min=0, show_default="1 where there are any")
    ] = None,
    json: Json = False,
) -> None:
    """Run a study file, with progress; the same command resumes it. Prints its table at the end."""
    from isoflop.cli.running import on_this_machine, run_and_print
    from isoflop.studies.study_file import load_study

    if executor == "ray":
        from isoflop.studies.cluster import RayExecutor

        chosen: RunsOn = RayExecutor(address, cpus, gpus, workers)
    else:
        chosen = on_this_machine(workers or 1)
    declared = load_study(study, settings_of(settings))
    run_and_print(declared, out, retry_errors=retry_errors, as_json=json, executor=chosen)
