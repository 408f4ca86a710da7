"""`isoflop time STUDY`: seconds, measured: each arm alone, repeats interleaved."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import Concurrency, Json, Settings, StudyFile, settings_of

EXAMPLES = "isoflop time recipes/gsm8k-qwen.toml --set model=DIR --problems 8 --repeats 3 --concurrency 16"


def time(
    study: StudyFile,
    problems: Annotated[int, typer.Option("--problems", min=1, help="The first problems of the study.")] = 8,
    alone: Annotated[
        int | None, typer.Option("--alone", min=1, help="Of these, so many one by one.", show_default="all")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds through all arms.")] = 3,
    concurrency: Concurrency = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Latency (problems one by one) and throughput (many at once) of every arm."""
    from isoflop.cli.output import console, grid, say_json
    from isoflop.report.units import three_digits
    from isoflop.studies.study_file import load_study
    from isoflop.studies.timing import time_study

    err = console(err=True)
    found = time_study(
        load_study(study, settings_of(settings)),
        problems=problems,
        alone=alone,
        repeats=repeats,
        concurrency=concurrency,
        progress=lambda text: err.print(text, soft_wrap=True),
    )
    rows = [
        [
            arm.label,
            three_digits(arm.latency_p50_seconds),
            three_digits(arm.latency_p95_seconds),
            three_digits(arm.problems_per_second),
            three_digits(arm.new_tokens_per_second),
        ]
        for arm in found.arms
    ]
    title = f"{found.problems} problems, {found.repeats} repeats; throughput at concurrency {found.concurrency}"
    out = console()
    out.print(grid(title, ["arm", "p50 s", "p95 s", "problems/s", "new tokens/s"], rows))
    out.print(found.hardware, style="dim", soft_wrap=True)
    if json:
        say_json(found.to_dict())
