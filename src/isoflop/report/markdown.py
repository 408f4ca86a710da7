"""A table as Markdown: arms, tests, equal FLOPs and notes, for a readme or a results page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isoflop.report.layout import Column, notes, sections

if TYPE_CHECKING:
    from isoflop.report.table import Table


def markdown(table: Table) -> str:
    """All sections; those without rows are left out."""
    return titled_grids(sections(table), notes(table))


def titled_grids(parts: Sequence[tuple[str, list[Column]]], remarks: Sequence[str]) -> str:
    """Titled columns, then remarks as a list."""
    grids = [f"**{_escaped(title)}**\n\n{_grid(columns)}" for title, columns in parts]
    return "\n\n".join([*grids, "\n".join(f"- {_escaped(remark)}" for remark in remarks)]) + "\n"


def _grid(columns: Sequence[Column]) -> str:
    lines = [
        [_escaped(column.heading) for column in columns],
        [":--" if column.left else "--:" for column in columns],
        *([_escaped(cell) for cell in cells] for cells in zip(*(column.cells for column in columns), strict=True)),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("\n", " ")
