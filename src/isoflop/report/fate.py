"""Why each node of a stored tree has no more below it: finished, closed, cut, pruned, or stopped with the search.

    for node, fate in zip(record.nodes, fates(record.outline(), record)): ...

A strategy does not say why it left a prefix alone. What is known is where it stood when the search ended: an open
prefix that nobody went on from was pruned where the search ended by itself, and stopped where something ended it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from isoflop.core import StepEnd, Stop
from isoflop.studies.record import Record


class Fate(StrEnum):
    """One letter each, as a page stores them."""

    GREW = "g"  # has children
    VOTED = "v"  # a complete solution that took part in the vote
    CLOSED = "c"  # the same, force-closed at its cap
    ASIDE = "a"  # complete, but the strategy did not put it to the vote
    CUT = "k"  # ran into a token cap and was not gone on from
    PRUNED = "p"  # open, and the strategy went on from others
    STOPPED = "s"  # open when the budget, the depth or an error ended the search


MEANINGS: Mapping[Fate, str] = {
    Fate.GREW: "expanded",
    Fate.VOTED: "complete: took part in the vote",
    Fate.CLOSED: "force-closed at its cap: took part in the vote",
    Fate.ASIDE: "complete, but not put to the vote",
    Fate.CUT: "cut: it ran into its token cap",
    Fate.PRUNED: "pruned: the search went on from other nodes",
    Fate.STOPPED: "open when the search was stopped",
}
LEFT = (Fate.ASIDE, Fate.CUT, Fate.PRUNED, Fate.STOPPED)  # nothing was grown from it, and it did not vote
_ENDS = list(StepEnd)


def fates(outline: Mapping[str, Any], record: Record) -> list[Fate]:
    """One a node."""
    parents = set(outline["parent"])
    voted = {candidate.node for candidate in record.candidates}
    left_alone = Fate.PRUNED if record.stop is Stop.FINISHED else Fate.STOPPED
    found = []
    for place, code in enumerate(outline["end"]):
        end = _ENDS[int(code)]
        if place in voted:
            found.append(Fate.CLOSED if end is StepEnd.CLOSED else Fate.VOTED)
        elif place in parents:
            found.append(Fate.GREW)
        elif end in (StepEnd.END, StepEnd.CLOSED):
            found.append(Fate.ASIDE)
        elif end is StepEnd.CAP:
            found.append(Fate.CUT)
        else:
            found.append(left_alone)
    return found
