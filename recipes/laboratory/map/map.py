"""The map as a table and a figure: one run a point, named AXIS-VALUE, in one folder.

    python recipes/laboratory/map/map.py runs/map [results/claim]

Prints a Markdown table, and writes map.md, map.json, map.png and map.svg into the second folder (else the first).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from isoflop.api import Run
from isoflop.claim.figure import NAMES
from isoflop.report.arms import summarize
from isoflop.report.figure import Figures, page, styled
from isoflop.report.style import look
from isoflop.stats.intervals import accuracy_interval
from isoflop.stats.paired import difference_interval

AXES = {
    "ops": "operations hidden in each step",
    "steps": "steps of a solution",
    "noise": "noise on the reward's logits",
    "habit": "lines that skip their working",
}
CENTRE = {"noise-0": "habit-0.6"}  # the same point on two axes


def main(folder: str, out: str | None = None) -> None:
    """Read, print, write."""
    runs = {path.parent.name: Run.open(path.parent) for path in sorted(Path(folder).glob("*/isoflop.db"))}
    points = {name: _point(run) for name, run in runs.items()}
    points |= {other: points[name] for name, other in CENTRE.items() if name in points}
    named = sorted(points, key=lambda name: (list(AXES).index(name.split("-")[0]), float(name.split("-")[1])))
    table = "\n".join([*_HEAD, *(_row(name, points[name]) for name in named)])
    print(table)
    place = Path(out or folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / "map.md").write_text(table + "\n")
    (place / "map.json").write_text(json.dumps({name: points[name] for name in named}, indent=1) + "\n")
    _figure({name: points[name] for name in named}).save(place)


def _point(run: Run) -> dict:
    arms = {arm.label: arm.data for arm in summarize(run)}
    unit = arms["unit"].flops_by_problem.mean()
    found: dict = {"n": len(arms["C"].problems)}
    for family in NAMES:
        interval = accuracy_interval(arms[family])
        found[family] = {
            "accuracy": float(arms[family].accuracy_by_problem.mean()),
            "low": interval.low,
            "high": interval.high,
            "units": float(arms[family].flops_by_problem.mean() / unit),
        }
    for rival in ("T", "S"):
        gap = difference_interval(arms["C"], arms[rival])
        difference = found["C"]["accuracy"] - found[rival]["accuracy"]
        found[f"C - {rival}"] = {"difference": difference, "low": gap.low, "high": gap.high}
    return found


_HEAD = ["| axis | value | n | B | T | S | C | C - T | C - S |", "|" + " --- |" * 9]


def _row(name: str, point: dict) -> str:
    axis, value = name.split("-")
    cells = [f"{100 * point[f]['accuracy']:.1f} ({point[f]['units']:.1f})" for f in NAMES]
    gaps = [
        f"{100 * gap['difference']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"
        for gap in (point["C - T"], point["C - S"])
    ]
    return "| " + " | ".join([AXES[axis], value, str(point["n"]), *cells, *gaps]) + " |"


def _figure(points: dict[str, dict]) -> Figures:
    with styled():
        figure, row = page(12.0, 3.4, len(AXES), [1.0] * len(AXES))
        for axes, (axis, title) in zip(row, AXES.items(), strict=True):
            own = {name.split("-")[1]: point for name, point in points.items() if name.startswith(f"{axis}-")}
            for place, (family, label) in enumerate(NAMES.items()):
                levels = [point[family] for point in own.values()]
                bars = [
                    [100 * (one["accuracy"] - one["low"]) for one in levels],
                    [100 * (one["high"] - one["accuracy"]) for one in levels],
                ]
                drawn = look(place)
                axes.errorbar(
                    range(len(own)), [100 * one["accuracy"] for one in levels], yerr=bars, color=drawn.colour,
                    marker=drawn.marker, markersize=5, linewidth=1.3, capsize=2, label=label,
                )  # fmt: skip
            axes.set_xticks(range(len(own)), own)
            axes.set_ylim(0, 100)
            axes.set_xlabel(title)
            axes.grid(axis="y")
        row[0].set_ylabel("accuracy % at about 8 units")
        row[0].legend(fontsize=7)
    return Figures({"map": figure})


if __name__ == "__main__":
    main(*sys.argv[1:])
