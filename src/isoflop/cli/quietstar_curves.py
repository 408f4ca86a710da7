"""`isoflop quietstar curves`: draw what a run of training has logged so far."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = "isoflop quietstar curves runs/thoughts"


def curves(
    run: Annotated[str, typer.Argument(help="The folder of a run, finished or not.", show_default=False)],
    smooth: Annotated[int, typer.Option("--smooth", min=1, help="Steps of the running mean.")] = 10,
) -> None:
    """Write RUN/curves.png and RUN/curves.svg: likelihoods, reward, weight, entropy, gradients by step."""
    from isoflop.report.curves import draw_curves

    for path in draw_curves(run, smooth):
        typer.echo(f"wrote {path}")
