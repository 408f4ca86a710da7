"""`isoflop lab ...`: the laboratory's own training, from problems to a small model. It knows the verbs alone."""

from __future__ import annotations

import typer

from isoflop.cli import lab_text, lab_train
from isoflop.cli.guard import guarded

app = typer.Typer(
    help="Make a laboratory: text of generated problems, small language models from nothing.", no_args_is_help=True
)
app.command("text", epilog=lab_text.EXAMPLES)(guarded(lab_text.text))
app.command("train", epilog=lab_train.EXAMPLES)(guarded(lab_train.train))
