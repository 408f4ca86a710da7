"""A run's progress on a terminal: all arms with accuracy and cost so far, and the time left; plain lines elsewhere.

with shown(err_console) as report:
    run.execute(report)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isoflop.cli.output import grid
from isoflop.report.units import duration, percent, three_digits, unit_for
from isoflop.studies.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console, Group

LINE_SECONDS = 10.0  # between two lines where nothing can be redrawn


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Progress], None]]:
    """What to hand to `execute`."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        yield lambda progress: live.update(arms_table(progress), refresh=True)


def headline(progress: Progress) -> str:
    """`57 of 704 attempts (8 %), 3 min 20 s, about 40 min left`."""
    share = round(100 * progress.done / progress.total) if progress.total else 100
    parts = [f"{progress.done} of {progress.total} attempts ({share} %)", duration(progress.elapsed_seconds)]
    if progress.done < progress.total and progress.eta_seconds is not None:
        parts.append(f"about {duration(progress.eta_seconds)} left")
    if progress.errors:
        parts.append(f"{progress.errors} failed")
    return ", ".join(parts)


def arms_table(progress: Progress) -> Group:
    """One row an arm: done, accuracy so far, mean cost so far."""
    unit = unit_for(arm.flops_per_attempt for arm in progress.arms)
    rows = [
        [
            arm.label,
            _bar(arm.done, arm.total),
            f"{arm.done}/{arm.total}",
            percent(arm.accuracy),
            three_digits(None if arm.flops_per_attempt is None else arm.flops_per_attempt / unit.size),
            three_digits(arm.tokens / arm.done if arm.done else None),
        ]
        for arm in progress.arms
    ]
    return grid(headline(progress), ["arm", "", "done", "acc %", unit.name, "tokens"], rows, left=2)


def _bar(done: int, total: int, width: int = 8) -> str:
    full = width * done // total if total else width
    return "━" * full + "┄" * (width - full)


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, console: Console) -> None:
        self._console, self._next = console, time.monotonic() + LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() < self._next and progress.done < progress.total:
            return
        self._next = time.monotonic() + LINE_SECONDS
        self._console.print(headline(progress), soft_wrap=True)
