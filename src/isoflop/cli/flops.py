"""`isoflop flops MODEL`: what a prompt and an answer cost, thoughts included, from a config alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isoflop.cli.options import Json

EXAMPLES = (
    "isoflop flops DIR --prompt 100 --new 256 · isoflop flops DIR/config.json --json"
    "\n\nisoflop flops \"quietstar(model='DIR', ahead=True)\""
)


def flops(
    model: Annotated[str, typer.Argument(help="Model folder, config.json, hub id, or an engine.", show_default=False)],
    prompt: Annotated[int, typer.Option("--prompt", min=1, help="Tokens of the prompt.")] = 128,
    new: Annotated[int, typer.Option("--new", min=0, help="New tokens.")] = 256,
    json: Json = False,
) -> None:
    """FLOPs of one prompt and one answer: the formula with its numbers. Loads no weights."""
    from isoflop.cli.output import say_json
    from isoflop.cost.explain import explain
    from isoflop.cost.flops import estimate
    from isoflop.cost.spelled_shape import shape_of

    engine = _engine(model)
    shape = shape_of(model if engine is None else engine.priced_by)
    typer.echo(explain(shape, prompt, new))
    found: dict[str, Any] = estimate(shape, prompt, new)
    if engine is not None and engine.spec_name == "quietstar":
        from isoflop.quietstar.explain import estimate_thoughts, explain_thoughts

        typer.echo(explain_thoughts(engine, shape, prompt, new))
        found = found | {"thoughts": estimate_thoughts(engine, shape, prompt, new)}
    if json:
        say_json(found)


def _engine(text: str) -> Any:
    """The engine that a text spells, where it spells one with a model of its own; else None."""
    from isoflop import specs
    from isoflop.errors import SpecError

    if text.partition("(")[0] not in specs.names("engine"):
        return None
    engine = specs.parse("engine", text)
    if engine.priced_by is None:
        raise SpecError(f"{engine} has no model whose config could be read; give a folder, a config.json or a hub id")
    return engine
