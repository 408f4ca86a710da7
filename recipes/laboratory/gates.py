"""Go or no-go: the five gates of the laboratory, read off a run of gates.toml on dev problems. Exit code 1 on no-go.

    isoflop study run recipes/laboratory/gates.toml --set models=runs/laboratory/seed-0 --out runs/gates
    python recipes/laboratory/gates.py runs/gates

1. base: greedy accuracy between 15 and 60 %: room below and above.
2. headroom: of the policy that is to search, with thoughts, pass@16 less chance at least 25 points above greedy: errors
   are luck that a search can use. The base's stands beside it.
3. content: thoughts beat as many filler tokens, exact McNemar p < 0.01: it is what is thought, not that it is longer.
   Majority votes of 8, since greedy decoding skips the working that thoughts are for.
4. reward: of each policy, the AUC within problems of its trained step reward at least 0.05 above log-probability, where
   right is what the exact oracle of the problems says of the path so far.
5. search: REBASE is as deep as a solution has steps (the opening line, and one for each result), and every leaf that it
   votes on is closed.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

from isoflop.core import StepEnd
from isoflop.problems.hiddenops import right_so_far
from isoflop.stats.discrimination import Group, within_auc
from isoflop.stats.intervals import wilson
from isoflop.stats.paired import mcnemar
from isoflop.studies.record import Record
from isoflop.studies.run import Run

CHANCE = 1 - (1 - 1 / 1000) ** 16  # 1,000 answers, 16 samples
SAMPLES = 16


def main(*folders: str) -> int:
    """Print each gate with its numbers; keep them in gates.json beside the first run. Several runs count as one."""
    by_arm: dict[str, dict[str, Record]] = defaultdict(dict)
    for folder in folders:
        for record in Run.open(folder).attempts:
            by_arm[record.arm][record.problem.id] = record
    found = [gate(by_arm, *policy) for gate, policy in GATES if needed(gate, *policy) <= set(by_arm)]
    for gate in found:
        print(f"{'go   ' if gate['go'] else 'NO-GO'}  {gate['gate']}: {gate['numbers']}")
    missing = len(GATES) - len(found)
    if missing:
        print(f"NO-GO  {missing} gates: their arms were not run")
    (Path(folders[0]) / "gates.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0 if not missing and all(gate["go"] for gate in found) else 1


def base(by_arm):
    share, text = accuracy(by_arm["base greedy"])
    return {"gate": "1 base 15-60 %", "go": 0.15 <= share <= 0.60, "numbers": f"greedy {text}"}


def headroom(by_arm):
    points, text = above_greedy(by_arm, "thoughts")
    return {
        "gate": "2 headroom of 25 points",
        "go": points >= 25,
        "numbers": f"thoughts {text}; base {above_greedy(by_arm, 'base')[1]}",
    }


def above_greedy(by_arm, policy):
    records = by_arm[f"{policy} samples"].values()
    passed = sum(any(one.outcome == "correct" for one in record.candidates) for record in records) / len(records)
    points = 100 * (passed - CHANCE - accuracy(by_arm[f"{policy} greedy"])[0])
    return points, f"pass@{SAMPLES} {100 * passed:.1f} less chance {100 * CHANCE:.1f}, {points:+.1f} points over greedy"


def content(by_arm):
    thoughts, fillers = by_arm["thoughts vote"], by_arm["fillers vote"]
    won = sum(thoughts[each].correct and not fillers[each].correct for each in thoughts)
    lost = sum(fillers[each].correct and not thoughts[each].correct for each in thoughts)
    p = mcnemar(won, lost)
    numbers = f"thoughts {accuracy(thoughts)[1]}, fillers {accuracy(fillers)[1]}, won {won}, lost {lost}, p = {p:.2g}"
    return {"gate": "3 thoughts over fillers", "go": won > lost and p < 0.01, "numbers": numbers}


def reward(by_arm, policy):
    trained, free = [], []
    for record in by_arm[f"{policy} samples"].values():
        judged = list(steps_of(record))
        right = tuple(each[0] for each in judged)
        trained.append(Group(record.problem.id, tuple(each[1] for each in judged), right))
        free.append(Group(record.problem.id, tuple(each[2] for each in judged), right))
    ours, theirs = within_auc(trained), within_auc(free)
    numbers = f"AUC {shown(ours)}, log-probability {shown(theirs)}, {ours.value - theirs.value:+.3f}"
    return {"gate": f"4 reward of {policy}", "go": ours.value - theirs.value >= 0.05, "numbers": numbers}


def steps_of(record):
    """For each step behind a result: right so far, the trained reward, the mean log-probability."""
    texts: dict[int | None, str] = {None: ""}
    for place, node in enumerate(record.nodes):
        text = texts[place] = texts[node.parent] + node.step.text
        if node.parent is None or node.reward is None or not node.step.logprobs:
            continue  # the opening line has no result to be right or wrong
        ends = node.step.end in (StepEnd.END, StepEnd.CLOSED)
        right = right_so_far(record.problem, text, finished=ends)
        yield right, node.reward, math.fsum(node.step.logprobs) / len(node.step.logprobs)


def search(by_arm, policy):
    depths, wanted, closed, leaves = [], [], 0, 0
    for record in by_arm[f"{policy} search"].values():
        for candidate in record.candidates:
            node = record.nodes[candidate.node]
            depths.append(node.depth)
            wanted.append(len(record.problem.meta["hidden"]) + 1)
            closed += node.step.end in (StepEnd.END, StepEnd.CLOSED)
        leaves += len(record.candidates)
    same = sum(depth == want for depth, want in zip(depths, wanted, strict=True)) / leaves
    mean, want = sum(depths) / leaves, sum(wanted) / leaves
    numbers = f"mean depth {mean:.3f} of {want:.3f}, {100 * same:.1f} % as deep, {closed} of {leaves} leaves closed"
    return {"gate": f"5 search of {policy}", "go": closed == leaves and abs(mean - want) < 0.01, "numbers": numbers}


def accuracy(records):
    right = sum(record.correct for record in records.values())
    interval = wilson(right, len(records))
    return right / len(
        records
    ), f"{100 * right / len(records):.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def shown(found):
    return f"{found.value:.3f} [{found.interval.low:.3f}, {found.interval.high:.3f}]"


GATES = [
    (base, ()),
    (headroom, ()),
    (content, ()),
    *[(gate, (policy,)) for gate in (reward, search) for policy in ("base", "thoughts")],
]


def needed(gate, policy=None):
    """The arms that a gate is read from."""
    return {
        base: {"base greedy"},
        headroom: {f"{who} {arm}" for who in ("base", "thoughts") for arm in ("greedy", "samples")},
        content: {"thoughts vote", "fillers vote"},
        reward: {f"{policy} samples"},
        search: {f"{policy} search"},
    }[gate]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
