"""A run's problems as a page carries them: one compressed blob a problem, with every attempt and its tree.

Texts that occur more than once in a problem, such as prefixes that arms share, are stored once. Where all trees do not
fit into the room there is, those of the most disputed problems go first; the others keep the chosen solutions, and the
page says how many trees were left out.

    blobs = problem_blobs(run.problems, attempts, arms, room_bytes=20_000_000)
    blobs.packed[0], blobs.without_trees
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoflop.core import Outcome, Problem, Stop
from isoflop.report.fate import fates
from isoflop.studies.record import Record

# One letter each, for the grid of problems: the outcome, then why the search stopped.
OUTCOMES = {
    Outcome.CORRECT: "c",
    Outcome.WRONG: "w",
    Outcome.NO_ANSWER: "n",
    Outcome.UNVERIFIABLE: "u",
    Outcome.UNGRADED: "g",
    Outcome.ERROR: "e",
}
STOPS = {Stop.FINISHED: "f", Stop.BUDGET: "b", Stop.DEPTH: "d", Stop.NO_CANDIDATES: "n", Stop.ERROR: "e"}


@dataclass(frozen=True)
class Blobs:
    """`packed`: base64 of gzipped JSON, one a problem. `without_trees` counts problems whose trees were left out."""

    packed: tuple[str, ...]
    without_trees: int


def problem_blobs(
    problems: Sequence[Problem], attempts: Sequence[Sequence[Record]], arms: Mapping[str, int], room_bytes: int
) -> Blobs:
    """`attempts`: each problem's records; `arms`: an arm's place by its label."""
    given = list(zip(problems, attempts, strict=True))
    small = [packed(problem_data(problem, records, arms, trees=False)) for problem, records in given]
    left = room_bytes - sum(map(len, small))
    found, without = list(small), 0
    for place in sorted(range(len(attempts)), key=lambda place: -disagreement(attempts[place])):
        whole = packed(problem_data(*given[place], arms, trees=True)) if left > 0 else ""
        more = len(whole) - len(small[place])
        if left > 0 and more <= left:
            found[place], left = whole, left - more
        elif attempts[place]:
            without += 1
    return Blobs(tuple(found), without)


def disagreement(records: Sequence[Record]) -> float:
    """Variance of being right over a problem's attempts: 0 where all agree, 0.25 where half are right."""
    share = sum(record.correct for record in records) / len(records) if records else 0.0
    return share * (1 - share)


def cell(records: Sequence[Record]) -> str:
    """An arm's attempts at one problem, two letters a seed."""
    return "".join(OUTCOMES[record.outcome] + STOPS[record.stop] for record in records)


def problem_data(
    problem: Problem, records: Sequence[Record], arms: Mapping[str, int], *, trees: bool
) -> dict[str, Any]:
    """Question, gold answer, every attempt; without `trees` only each chosen path."""
    texts: dict[str, int] = {}
    attempts = [_attempt(record, arms[record.arm], texts, trees) for record in records]
    return {"question": problem.question, "trees": trees, "attempts": attempts, "texts": list(texts)}


def packed(data: Mapping[str, Any]) -> str:
    """Gzipped JSON as base64."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), 6, mtime=0)).decode()


def _attempt(record: Record, arm: int, texts: dict[str, int], trees: bool) -> dict[str, Any]:
    outline = record.outline()
    votes = record.candidates
    chosen = None if record.chosen is None else votes[record.chosen].node
    cost = record.charged_total
    found: dict[str, Any] = {
        "arm": arm,
        "seed": record.seed,
        "outcome": record.outcome.value,
        "stop": record.stop.value,
        "message": record.message,
        "answer": record.answer,
        "flops": cost.flops,
        "seconds": _digits(cost.seconds),
        "tokens": cost.new_tokens,
        "tied": list(record.tied),
        "chosen": chosen,
        "size": len(outline["parent"]),
        "path": [] if chosen is None else _path(outline, chosen, texts),
    }
    if trees:
        found["votes"] = [[one.node, one.answer, _digits(one.weight), one.outcome.value] for one in votes]
        found["tree"] = _tree(outline, record, texts)
    return found


def _path(outline: Mapping[str, Any], node: int, texts: dict[str, int]) -> list[int]:
    """Texts of the steps that lead to a node, the first one first."""
    found = []
    while node >= 0:
        found.append(_text(outline["text"][node], texts))
        node = outline["parent"][node]
    return found[::-1]


def _tree(outline: Mapping[str, Any], record: Record, texts: dict[str, int]) -> dict[str, Any]:
    """Columns, one entry a node; a column that says nothing is left out."""
    tree: dict[str, Any] = {
        "parent": outline["parent"],
        "text": [_text(text, texts) for text in outline["text"]],
        "tokens": outline["tokens"],
        "fate": "".join(fates(outline, record)),
    }
    if any(reward is not None for reward in outline["reward"]):
        tree["reward"] = [_digits(reward) for reward in outline["reward"]]
    if set(outline["channel"]) - {"0"}:
        tree["channel"] = outline["channel"]
    if costs := outline.get("cost"):
        for name, place in (("flops", 0), ("scoring", 1), ("cached", 2), ("read", 3), ("seconds", 4)):
            column = [_digits(cost[place]) for cost in costs]
            if any(column):
                tree[name] = column
    if thoughts := outline.get("thoughts"):
        tree["thoughts"] = {
            str(place): [[one[0], _text(one[2], texts), _digits(one[3]), one[4], one[5]] for one in own]
            for place, own in enumerate(thoughts)
            if own
        }
    return tree


def _text(text: str, texts: dict[str, int]) -> int:
    return texts.setdefault(text, len(texts))


def _digits(value: float | None) -> float | None:
    """Three significant digits: what a page shows of a node. Whole numbers below a thousand stay as they are."""
    if value is None or (isinstance(value, int) and abs(value) < 1000):
        return value
    return float(f"{value:.3g}")
