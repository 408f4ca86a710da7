"""`isoflop quietstar ...`: thoughts on any causal model. It knows the group's verbs and nothing of what they do."""

from __future__ import annotations

import typer

from isoflop.cli import quietstar_curves, quietstar_eval, quietstar_train
from isoflop.cli.guard import guarded

app = typer.Typer(help="Train thoughts on any causal language model, and judge them.", no_args_is_help=True)
app.command("train", epilog=quietstar_train.EXAMPLES)(guarded(quietstar_train.train))
app.command("eval", epilog=quietstar_eval.EXAMPLES)(guarded(quietstar_eval.evaluate))
app.command("curves", epilog=quietstar_curves.EXAMPLES)(guarded(quietstar_curves.curves))
