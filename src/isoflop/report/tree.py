"""One stored search as a tree for a terminal: rewards, tokens, what each path answered, the chosen path marked.

Steps without siblings share one branch, a line each, so that long solutions do not walk off the screen. Model text is
shown, never obeyed: control characters are spelled out. Beside each node: its reward, tokens and FLOPs, and why nothing
was grown from it, where it was left.

    for record in attempts_at(run, "p17", arm="rebase(width=4)"):
        console.print(drawn(record))
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from isoflop.core import Candidate
from isoflop.errors import StudyError
from isoflop.report.fate import LEFT, Fate, fates
from isoflop.report.units import NOTHING, three_digits, unit_for
from isoflop.studies.record import Node, Record
from isoflop.studies.run import Run

CHOSEN = "★"
_SHOWN = 200  # characters of a step; the store has all of it


def attempts_at(run: Run, problem: str, arm: str | None = None) -> list[Record]:
    """The attempts at one problem, of one arm or all. StudyError says which problems there are."""
    known = [one.id for one in run.problems]
    if problem not in known:
        some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
        raise StudyError(f"problem {problem!r} is not in this run, which has {len(known)}; allowed: {some}")
    label = None if arm is None else run.study.label(run.study.arm(arm))
    return [one for one in run.attempts if one.problem.id == problem and label in (None, one.arm)]


def drawn(record: Record) -> Tree:
    """The tree with a heading that says how it ended and what it took."""
    top = Tree(_heading(record), guide_style="dim")
    children: dict[int | None, list[int]] = {}
    for place, node in enumerate(record.nodes):
        children.setdefault(node.parent, []).append(place)
    winning = _winning(record)
    voted = {candidate.node: candidate for candidate in record.candidates}
    ends = fates(record.outline(), record)
    waiting = [(top, place) for place in reversed(children.get(None, []))]
    while waiting:
        branch, place = waiting.pop()
        chain = [place]
        while len(below := children.get(chain[-1], [])) == 1:
            chain += below
        label = Text("\n").join(_line(record.nodes[i], ends[i], i in winning, voted.get(i)) for i in chain)
        grown = branch.add(label)
        waiting += [(grown, child) for child in reversed(children.get(chain[-1], []))]
    return top


def visible(text: str, most: int = _SHOWN) -> str:
    """Text on one line that no terminal obeys, cut where it is long."""
    cut = text.strip("\n")[:most]
    spelled = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return spelled + (f" ... ({len(text):,} characters)" if len(text.strip("\n")) > most else "")


def _heading(record: Record) -> Text:
    flops = record.charged_total.flops
    unit = unit_for([flops])
    answer = NOTHING if record.answer is None else visible(record.answer)
    said = f": {visible(record.message)}" if record.message else ""
    heading = Text(f"{record.arm}, seed {record.seed}: {record.outcome.value}", style="bold")
    taken = f"{three_digits(flops / unit.size)} {unit.name}" if flops else "FLOPs not recorded"
    return heading.append(
        f"\nanswer {answer}; stopped: {record.stop.value}{said}; {len(record.nodes)} nodes, {taken}", style="not bold"
    )


def _line(node: Node, fate: Fate, winning: bool, candidate: Candidate | None) -> Text:
    facts = [NOTHING if node.reward is None else f"{node.reward:.3f}", f"{len(node.step.tokens)} tok"]
    if node.cost is not None and (flops := node.cost.flops + node.cost.reward_flops):
        unit = unit_for([flops])
        facts.append(f"{three_digits(flops / unit.size)} {unit.name}")
    line = Text(f"{CHOSEN} " if winning else "", style="bold" if winning else "")
    line.append(f"{' · '.join(facts)}  ", style="dim").append(visible(node.step.text))
    if fate in LEFT:
        line.append(f"  × {fate.name.lower()}", style="dim")
    if candidate is not None:
        answer = "no answer" if candidate.answer is None else visible(candidate.answer)
        line.append(f"  → {answer} ({candidate.outcome.value})", style="italic")
    return line


def _winning(record: Record) -> set[int]:
    """The chosen candidate's node and its ancestors."""
    place = None if record.chosen is None else record.candidates[record.chosen].node
    found: set[int] = set()
    nodes: Sequence[Node] = record.nodes
    while place is not None:
        found.add(place)
        place = nodes[place].parent
    return found
