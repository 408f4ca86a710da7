"""Names beside points without overlap: each takes the best free place around its point, or none.

A greedy search over a few dozen places per name, in pixels of a canvas that has been laid out. Near beats far, and
lines are crossed only where nothing else is left. A name that finds no free place is left out (its marker and colour
still say what it is), never drawn over another.

    place_names(axes, [Name("greedy()", x, y, "#000000")])
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoflop.report.style import ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

_RADII = (7.0, 12.0, 18.0, 25.0, 34.0, 45.0, 58.0)  # points around the marker's centre
_ANGLES = (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240)
_MARKER_RADIUS = 4.5
_CROSSING = 9.0  # a name goes this many points farther away to cross one line less
_LEADER_FROM = 15.0  # a name farther away than this gets a line to its point


@dataclass(frozen=True, slots=True)
class Name:
    """A text that belongs to a point of the data."""

    text: str
    x: float
    y: float
    colour: str


def place_names(axes: Axes, names: Sequence[Name], size: float = 7.5) -> int:
    """Draw the names; returns how many found a place."""
    from matplotlib.transforms import Bbox

    scale = axes.figure.dpi / 72
    centres = [axes.transData.transform((name.x, name.y)) for name in names]
    taken = [_square(x, y, _MARKER_RADIUS * scale) for x, y in centres]
    lines = [
        line.get_transform().transform_path(line.get_path()) for line in axes.lines if line.get_linestyle() != "None"
    ]
    room = axes.get_window_extent()
    placed = 0
    for name, (x, y) in zip(names, centres, strict=True):
        width, height = _extent(axes, name.text, size)
        best: tuple[float, Bbox, tuple[float, float], float] | None = None
        for dx, dy, radius in _places(width, height, scale):
            box = Bbox.from_bounds(x + dx, y + dy, width, height)
            if not _inside(box, room) or any(box.overlaps(other) for other in taken):
                continue
            crossed = sum(line.intersects_bbox(box, filled=False) for line in lines)
            worth = _CROSSING * crossed + radius
            if best is None or worth < best[0]:
                best = worth, box, (dx / scale, dy / scale), radius
        if best is not None:
            _, box, offset, radius = best
            _draw(axes, name, offset, size, leader=radius > _LEADER_FROM)
            taken.append(box)
            placed += 1
    return placed


def _places(width: float, height: float, scale: float) -> Iterator[tuple[float, float, float]]:
    """Lower left corners relative to the point, nearest first."""
    for radius in _RADII:
        for angle in _ANGLES:
            x = math.cos(math.radians(angle)) * radius * scale
            y = math.sin(math.radians(angle)) * radius * scale
            left = 0.0 if x > 1 else -width if x < -1 else -width / 2
            yield x + left, y - height / 2, radius


def _draw(axes: Axes, name: Name, offset: tuple[float, float], size: float, *, leader: bool) -> None:
    line = {"arrowstyle": "-", "color": name.colour, "linewidth": 0.5, "alpha": 0.7, "shrinkA": 0, "shrinkB": 3}
    axes.annotate(
        name.text,
        (name.x, name.y),
        xytext=offset,
        textcoords="offset points",
        fontsize=size,
        color=ink(name.colour),
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.4},
        zorder=6,
        va="bottom",
        ha="left",
        arrowprops=line if leader else None,
    )


def _extent(axes: Axes, text: str, size: float) -> tuple[float, float]:
    probe = axes.text(0, 0, text, fontsize=size)
    box = probe.get_window_extent()
    probe.remove()
    return box.width, box.height


def _square(x: float, y: float, radius: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)


def _inside(box: Bbox, room: Bbox) -> bool:
    return bool(box.x0 >= room.x0 and box.x1 <= room.x1 and box.y0 >= room.y0 and box.y1 <= room.y1)
