"""`isoflop reward ...`: from solutions to a step reward. It knows the group's verbs and nothing of what they do."""

from __future__ import annotations

import typer

from isoflop.cli import reward_label
from isoflop.cli.guard import guarded

app = typer.Typer(help="From solutions to a step reward: labels of their steps.", no_args_is_help=True)
app.command("label", epilog=reward_label.EXAMPLES)(guarded(reward_label.label))


@app.callback()
def root() -> None:
    """From solutions to a step reward: labels of their steps."""
