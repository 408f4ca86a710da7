"""`isoflop watch RUN`: the report of a run, live, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import PriceOption, RunFolder, settings_of

EXAMPLES = (
    "isoflop watch runs/first · isoflop watch runs/first --port 8765 --price hour=2.5"
    "\n\nOn a remote machine: ssh -L 8765:127.0.0.1:8765 MACHINE, then open the address that is printed."
)


def watch(
    run: RunFolder,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    price: PriceOption = None,
) -> None:
    """Serve the report on 127.0.0.1 under a secret address; it follows the study, also when that is started again."""
    from isoflop.report.budget import Prices
    from isoflop.report.live_server import serve

    serve(run, port, Prices.of(settings_of(price, "--price")), lambda address: typer.echo(f"{address}\nCtrl-C ends it"))
