"""A run's figures: the published study's three panels, accuracy against FLOPs with the frontier, accuracy by k.

    figures = Figures.of(Run.open("runs/first"))
    figures.save("figures")                # study.png, study.svg, frontier.png, ...
    figures                                # shows them all in a notebook

It draws what `table.py` holds and computes no result of its own. Needs the extra `report`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.errors import MissingExtraError, StoreError, StudyError
from isoflop.report.arms import ArmSummary
from isoflop.report.table import Table
from isoflop.report.units import unit_for
from isoflop.studies.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
NEEDED = "figures need the packages of the extra 'report'; install them: pip install 'isoflop[report]'"


@dataclass(frozen=True)
class Figures:
    """See the module. `named` maps a file's stem to a matplotlib figure."""

    named: dict[str, Figure]

    @classmethod
    def of(cls, run: Run) -> Figures:
        """The figures of a run as it stands. Raises MissingExtraError, or StudyError where nothing is finished."""
        return cls.of_table(Table.of(run))

    @classmethod
    def of_table(cls, table: Table) -> Figures:
        """The same from a table that is made already."""
        arms = [arm for arm in table.arms if arm.data is not None]
        if not arms:
            raise StudyError(f"study {table.study.name!r} has no graded attempts yet, so there is nothing to draw")
        with styled():
            named = {"study": _study(table, arms), "frontier": _frontier(table, arms)}
            if table.pools:
                named["samples"] = _samples(table)
        return cls(named)

    def save(self, folder: str | Path) -> list[Path]:
        """Every figure as PNG and SVG; returns the files."""
        folder = Path(folder)
        files: list[Path] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for stem, figure in self.named.items():
                for form in FORMATS:
                    files.append(folder / f"{stem}.{form}")
                    files[-1].write_bytes(_drawn(figure, form))
        except OSError as error:
            raise StoreError(f"{folder}: figures cannot be written ({error.strerror}); choose another folder") from None
        return files

    def _repr_html_(self) -> str:
        drawings = [_drawn(figure, "svg").decode() for figure in self.named.values()]
        return "".join(drawing[drawing.index("<svg") :] for drawing in drawings)


def _study(table: Table, arms: Sequence[ArmSummary]) -> Figure:
    from isoflop.report import panels
    from isoflop.report.style import looks

    unit = unit_for(arm.flops_per_problem for arm in arms)
    named = looks(table.study)
    figure, (flops, runtime, score) = page(11.0, max(3.4, 0.9 + 0.27 * len(arms)), 3, [1.0, 1.0, 0.95])
    panels.accuracy_against(
        flops, arms, named, lambda arm: _over(arm.flops_per_problem, unit.size), f"{unit.name} per problem"
    )
    panels.accuracy_against(runtime, arms, named, lambda arm: arm.seconds_per_problem, "seconds per problem (modelled)")
    panels.efficiency_score(score, arms, named)
    flops.set_title("(a) accuracy – FLOPs")
    runtime.set_title("(b) accuracy – runtime")
    score.set_title("(c) efficiency score")
    _caption(figure, table, arms)
    return figure


def _frontier(table: Table, arms: Sequence[ArmSummary]) -> Figure:
    from isoflop.report import panels
    from isoflop.report.style import looks

    unit = unit_for(arm.flops_per_problem for arm in arms)
    named = looks(table.study)
    figure, (axes,) = page(7.4, 4.6, 1, [1.0])

    def cost(arm: ArmSummary) -> float | None:
        return _over(arm.flops_per_problem, unit.size)

    panels.accuracy_against(axes, arms, named, cost, f"{unit.name} per problem")
    panels.frontier(axes, arms, unit.size)
    axes.set_title("Accuracy at cost, by family")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=7.5)
    _caption(figure, table, arms)
    figure.draw_without_rendering()  # names are placed in the final layout
    panels.names_beside(axes, arms, named, cost)
    return figure


def _samples(table: Table) -> Figure:
    from isoflop.report import panels

    pools = table.pools
    figure, row = page(4.2 * len(pools) + 0.4, 3.6, len(pools), [1.0] * len(pools))
    for axes, pool in zip(row, pools, strict=True):
        axes.set_title("\n".join(["One pool, every k", *(pool.arms if len(pools) > 1 else ())]))
        figure.draw_without_rendering()
        panels.accuracy_by_k(axes, pool)
    figure.text(
        0.01, -0.02, f"n = {pools[0].problems} problems; expected over all subsets of k samples; bar: 95 % interval",
        fontsize=7, va="top", color="#555555",
    )  # fmt: skip
    return figure


def page(width: float, height: float, columns: int, ratios: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """An empty page without pyplot: no window, no global state, whatever backend the process uses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    grid = figure.subplots(1, columns, squeeze=False, width_ratios=list(ratios))
    return figure, list(grid[0])


def _caption(figure: Figure, table: Table, arms: Sequence[ArmSummary]) -> None:
    method = "bootstrap by problem" if len(table.study.seeds) > 1 else "Wilson"
    partial = "" if all(arm.complete for arm in table.arms) else "; some arms are INCOMPLETE"
    seeds = f" x {len(table.study.seeds)} seeds" if len(table.study.seeds) > 1 else ""
    n = max(arm.n for arm in arms)
    text = f"{table.study.name}: n = {n} problems{seeds}, {table.study.split}; bars: 95 % intervals ({method}){partial}"
    figure.supxlabel(text, fontsize=7, color="#555555", x=0.01, ha="left")


def _over(value: float | None, size: float) -> float | None:
    return None if value is None else value / size


def _drawn(figure: Figure, form: str) -> bytes:
    out = io.BytesIO()
    with styled():
        figure.savefig(out, format=form, bbox_inches="tight", metadata={"Date": None} if form == "svg" else None)
    return out.getvalue()


@contextmanager
def styled() -> Iterator[None]:
    try:
        from matplotlib import rc_context
    except ImportError:
        raise MissingExtraError(NEEDED) from None
    from isoflop.report.style import SETTINGS

    with rc_context(SETTINGS):
        yield
