"""`isoflop tree RUN PROBLEM`: the searches of one problem, as trees in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import RunFolder

EXAMPLES = 'isoflop tree runs/first 3 · isoflop tree runs/first 3 --arm "rebase(width=4)"'


def tree(
    run: RunFolder,
    problem: Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem's id.", show_default=False)],
    arm: Annotated[str | None, typer.Option("--arm", help="One arm's label.", show_default="all arms")] = None,
) -> None:
    """What was grown, how it was scored, what each path answered; ★ marks the path of the final answer."""
    from isoflop.api import Run
    from isoflop.cli.output import console
    from isoflop.report.tree import attempts_at, drawn, visible

    opened = Run.open(run)
    found = attempts_at(opened, problem, arm)
    out = console()
    if not found:
        out.print("no attempt at this problem is stored yet")
        return
    asked = found[0].problem
    out.print(f"{visible(asked.question, 2000)}  [gold: {visible(asked.answer or 'none')}]", markup=False)
    for record in found:
        out.print(drawn(record))
