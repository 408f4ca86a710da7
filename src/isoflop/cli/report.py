"""`isoflop report RUN`: a whole run as one page, to open or to send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import Json, PriceOption, RunFolder, settings_of

EXAMPLES = (
    "isoflop report runs/first -o report.html"
    "\n\nisoflop report runs/first --price hour=2.5 · isoflop report runs/first --price input=0.1 --price output=0.4"
    "\n\nOne file, no network: open it, or send it. Beyond --most-mb the least disputed trees are left out."
)


def report(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file.", show_default="RUN/report.html")] = None,
    price: PriceOption = None,
    most_mb: Annotated[float, typer.Option("--most-mb", min=3, help="Megabytes that the file may reach.")] = 25,
    title: Annotated[str, typer.Option("--title", help="Title of the page.", show_default="the study's name")] = "",
    json: Json = False,
) -> None:
    """Who wins at which budget and whether it is real, all tables and curves, every problem, every tree: one page."""
    from isoflop.api import Run
    from isoflop.cli.output import say_json
    from isoflop.report.budget import Prices
    from isoflop.report.page import write_report

    opened = Run.open(run)
    prices = Prices.of(settings_of(price, "--price"))
    written = write_report(
        opened, out or opened.folder / "report.html", prices=prices, most_bytes=int(most_mb * 1e6), title=title
    )
    typer.echo(f"{written.path} ({written.size_bytes / 1e6:.1f} MB, {written.problems} problems)")
    if written.without_trees:
        typer.echo(
            f"the trees of the {written.without_trees} least disputed problems did not fit into {most_mb:g} MB; "
            "a larger --most-mb keeps more",
            err=True,
        )
    if json:
        say_json(
            {
                "file": str(written.path),
                "bytes": written.size_bytes,
                "problems": written.problems,
                "without_trees": written.without_trees,
            }
        )
