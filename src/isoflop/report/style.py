"""How figures look: one colour and one marker per family of arms, everywhere; safe for the colour-blind, fit for print.

Colours are Paul Tol's muted scheme (distinct in all common forms of colour blindness and in lightness); the reference
is black. Colour is never the only carrier: every family has its own marker, and names stand beside the points.

Tol, "Colour Schemes", SRON/EPS/TN/09-002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isoflop.studies.spec import Study

_INDIGO, _CYAN, _TEAL, _GREEN, _OLIVE = "#332288", "#88CCEE", "#44AA99", "#117733", "#999933"
_SAND, _ROSE, _WINE, _PURPLE = "#DDCC77", "#CC6677", "#882255", "#AA4499"
_COLOURS = (_ROSE, _INDIGO, _GREEN, _CYAN, _WINE, _TEAL, _OLIVE, _PURPLE, _SAND)
_MARKERS = ("o", "^", "D", "v", "P", "X", "<", ">", "p", "h", "8")  # as many as colours, and two: pairs repeat late
REFERENCE_COLOUR, REFERENCE_MARKER = "#000000", "s"
GREY, LIGHT = "#555555", "#DDDDDD"

SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: searchable, and set in the reader's fonts
    "svg.hashsalt": "isoflop",  # the same run draws the same file
    "savefig.dpi": 200,
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one family is drawn."""

    colour: str
    marker: str


def looks(study: Study) -> dict[str, Look]:
    """A look for every arm's label: the same within a family, the reference's family in black squares."""
    found: dict[str, Look] = {}
    place = 0
    for family in study.families:
        labels = [study.label(arm) for arm in family]
        if study.reference in labels:
            own = Look(REFERENCE_COLOUR, REFERENCE_MARKER)
        else:
            own = look(place)
            place += 1
        found.update(dict.fromkeys(labels, own))
    return found


def look(place: int) -> Look:
    """The look of the place-th of several things that are compared."""
    return Look(_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)])


def ink(colour: str) -> str:
    """The colour, darkened until text in it is readable on white (a contrast of about 4.5 to 1)."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(colour)
    while 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18:
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return to_hex((red, green, blue))


def for_dark(colour: str) -> str:
    """The colour, with white until it stands out on a dark page (a contrast of about 4.5 to 1); black becomes white."""
    if colour == REFERENCE_COLOUR:
        return "#ffffff"
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    while sum(share * value**2.2 for share, value in zip((0.2126, 0.7152, 0.0722), channels, strict=True)) < 0.24:
        channels = [value + 0.06 * (1 - value) for value in channels]
    return "#" + "".join(f"{round(255 * value):02x}" for value in channels)
