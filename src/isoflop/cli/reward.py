"""`isoflop reward ...`: from solutions to a step reward. It knows the group's verbs and nothing of what they do."""

from __future__ import annotations

import typer

from isoflop.cli import reward_eval, reward_label, reward_train
from isoflop.cli.guard import guarded

app = typer.Typer(help="From solutions to a step reward: label, train, judge.", no_args_is_help=True)
app.command("label", epilog=reward_label.EXAMPLES)(guarded(reward_label.label))
app.command("train", epilog=reward_train.EXAMPLES)(guarded(reward_train.train))
app.command("eval", epilog=reward_eval.EXAMPLES)(guarded(reward_eval.evaluate))
