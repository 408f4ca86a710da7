"""What verbs print with: a console as wide as the terminal, and one line of JSON at the very end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, Group


def speaks() -> bool:
    """Of several workers that train together the first one alone speaks; a launcher numbers them."""
    return os.environ.get("RANK", "0") == "0"


def console(*, err: bool = False) -> Console:
    """A rich console that never guesses colours into numbers."""
    from rich.console import Console

    return Console(stderr=err, highlight=False, soft_wrap=False)


def grid(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Group:
    """A title and a plain table whose first `left` columns stand left, the others right."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        is_left = place < left
        table.add_column(heading, justify="left" if is_left else "right", no_wrap=not is_left, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return Group(Text(title, style="bold"), table)


def say_json(document: Mapping[str, Any]) -> None:
    """The last line."""
    typer.echo(json.dumps(document, ensure_ascii=False))
