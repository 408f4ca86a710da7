"""Options that several verbs share, spelled once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from isoflop.errors import SpecError

Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML).", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Another value for one of the study file's variables; repeatable."
    ),
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="NAME=VALUE",
        help="hour=2.5 (of the machine), or input= and output= (a million tokens); currency=€. Repeatable.",
        show_default="no money",
    ),
]
RetryErrors = Annotated[bool, typer.Option("--retry-errors", help="Make failed attempts again.")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", min=1, help="Problems worked on at once.")]
BudgetFlops = Annotated[float | None, typer.Option("--budget-flops", help="FLOPs per problem, never exceeded.")]
BudgetTokens = Annotated[int | None, typer.Option("--budget-tokens", help="New tokens per problem, never exceeded.")]
BudgetSeconds = Annotated[float | None, typer.Option("--budget-seconds", help="Seconds per problem.")]


def settings_of(given: Sequence[str] | None, option: str = "--set") -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping. Raises SpecError for one without a name or a value."""
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            example = "model=DIR" if option == "--set" else "hour=2.5"
            raise SpecError(f"{option} {text!r} is not of the form NAME=VALUE, such as {option} {example}")
        if name.strip() in found:
            raise SpecError(f"{option} names {name.strip()!r} twice; give each once")
        found[name.strip()] = value
    return found
