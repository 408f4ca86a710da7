"""A table on a terminal, through rich: as many columns as fit, everything else in `--json` and Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from isoflop.report.layout import Column, notes, sections

if TYPE_CHECKING:
    from isoflop.report.table import Table

_NAME_WIDTH = 34  # longer labels wrap


def plain(table: Table, width: int) -> str:
    """Without colours, lines of at most `width` columns."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    console.print(render(table, width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def render(table: Table, width: int, *, exploratory: bool = False) -> RenderableType:
    """All sections, for a rich console of that width."""
    return titled(sections(table, exploratory=exploratory), notes(table), width)


def titled(parts: Sequence[tuple[str, list[Column]]], remarks: Sequence[str], width: int) -> RenderableType:
    """Titled columns, as many of each as fit, then remarks; those on what is missing stand out."""
    shown: list[RenderableType] = []
    for title, columns in parts:
        shown += [Text(title, style="bold"), _grid(columns, width)]
    styles = {"INCOMPLETE": "yellow", "not tested": "yellow"}
    for remark in remarks:
        style = next((style for start, style in styles.items() if remark.startswith(start)), "dim")
        shown.append(Text(remark, style=style))
    return Group(*shown)


def _grid(columns: Sequence[Column], width: int) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = _fitting(columns, width)
    for column in shown:
        justify: Literal["left", "right"] = "left" if column.left else "right"
        grid.add_column(column.heading, justify=justify, no_wrap=not column.left, overflow="fold")
    for cells in zip(*(column.cells for column in shown), strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The first columns that fit; labels may wrap, numbers may not."""
    shown: list[Column] = []
    used = 2
    for column in columns:
        needed = (min(column.width, _NAME_WIDTH) if column.left else column.width) + 2
        if used + needed > width:
            break
        shown.append(column)
        used += needed
    return shown
