"""`isoflop flops MODEL`: what a prompt and an answer cost, from a config alone."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import Json

EXAMPLES = "isoflop flops DIR --prompt 100 --new 256 · isoflop flops DIR/config.json --json"


def flops(
    model: Annotated[str, typer.Argument(help="Model folder, config.json, or hub id.", show_default=False)],
    prompt: Annotated[int, typer.Option("--prompt", min=1, help="Tokens of the prompt.")] = 128,
    new: Annotated[int, typer.Option("--new", min=0, help="New tokens.")] = 256,
    json: Json = False,
) -> None:
    """FLOPs of one prompt and one answer: the formula with its numbers. Loads no weights."""
    from isoflop.cli.output import say_json
    from isoflop.cost.explain import explain
    from isoflop.cost.flops import estimate
    from isoflop.cost.shape import load_shape

    shape = load_shape(model)
    typer.echo(explain(shape, prompt, new))
    if json:
        say_json(estimate(shape, prompt, new))
