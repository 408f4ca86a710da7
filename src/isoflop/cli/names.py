"""`isoflop list`: what there is to choose from, with fields and defaults as they are spelled."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from isoflop.cli.options import Json

EXAMPLES = "isoflop list · isoflop list strategy"


def list_names(
    family: Annotated[
        str | None, typer.Argument(help="strategy, reward, engine, problems, prompt, grader, sampling, protocol.")
    ] = None,
    json: Json = False,
) -> None:
    """Strategies, rewards, engines, problem sets and prompt formats, each with its fields."""
    from isoflop import specs
    from isoflop.cli.output import console, say_json

    found: dict[str, list[dict[str, str]]] = {}
    for each in [family] if family else list(specs.FAMILIES):
        found[each] = [_described(each, name) for name in specs.names(each)]
    out = console()
    for each, entries in found.items():
        out.print(each, style="bold", markup=False)
        for entry in entries:
            out.print(f"  {entry['usage']}", markup=False, soft_wrap=True)
            out.print(f"      {entry['help']}", markup=False, soft_wrap=True, style="dim")
    if json:
        say_json(found)


def _described(family: str, name: str) -> dict[str, str]:
    import importlib

    from isoflop import specs

    try:
        cls = specs.load_class(family, name)
    except ImportError as error:  # an optional package is not installed: the name is there all the same
        return {"name": name, "usage": name, "help": f"not usable here: {error}"}
    module = importlib.import_module(cls.__module__)
    summary = (module.__doc__ or cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    spelled = sorted((field for field in fields(cls) if field.init), key=lambda field: bool(field.kw_only))
    return {"name": name, "usage": f"{name}({', '.join(map(_field, spelled))})"} | {
        "help": summary if len(specs.names(family)) > 1 and family != "prompt" else _first_line(cls)
    }


def _first_line(cls: type[Any]) -> str:
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def _field(field: Any) -> str:
    if field.default is not MISSING:
        text = repr(list(field.default) if isinstance(field.default, tuple) else field.default)
    elif field.default_factory is not MISSING:
        text = repr(field.default_factory())
    else:
        return str(field.name)
    return f"{field.name}={text if len(text) <= 40 else '...'}"
