"""What dev decides for reasoning-gym, and the verdict on test, off what `isoflop table RUN --json` printed.

python recipes/external/verdict.py votes runs/external/chain-sum/dev.txt       # 6, 10
python recipes/external/verdict.py test runs/external/chain-sum/test.txt       # win: +6.1 [+1.2, +10.9] points
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEARCH = "rebase(width=8)"
MARGIN = 0.03  # of the search's FLOPs: so far away a vote has to be, since its cost on test is not quite that on dev
POINTS = 0.05


def votes(flops: Mapping[int, float], budget: float) -> tuple[int, int]:
    """The two votes next to the budget, below and above it by the margin at least; `flops` by the vote's n."""
    below = [n for n, cost in flops.items() if cost <= (1 - MARGIN) * budget]
    above = [n for n, cost in flops.items() if cost >= (1 + MARGIN) * budget]
    if not (below and above):
        raise SystemExit(
            f"the votes {sorted(flops)} do not lie on both sides of {budget:.4g} FLOPs; measure more of them"
        )
    return max(below), min(above)


def verdict(low: float, high: float) -> str:
    """Of a difference's 95% interval, in shares."""
    if low > 0:
        return "win"
    if high < 0:
        return "loss"
    return "within 5 points" if low >= -POINTS and high <= POINTS else "undecided"


def votes_of(table: Mapping[str, Any]) -> str:
    """As the Makefile wants them."""
    flops = {arm["strategy"]: arm["flops_per_problem"] for arm in table["arms"]}
    counts = {int(found[1]): flops[name] for name in flops if (found := re.search(r"weighted_vote\(n=(\d+)\)", name))}
    return ", ".join(map(str, votes(counts, flops[SEARCH])))


def verdict_of(table: Mapping[str, Any]) -> str:
    """With its numbers, in points."""
    rows = [row for row in table["equal_flops"] if row["strategy"] == SEARCH and row["against"] == "reference"]
    if len(rows) != 1 or rows[0]["difference"] is None:
        raise SystemExit(
            f"no comparison of {SEARCH} at equal FLOPs: an arm is not complete, or the votes lie on one side"
        )
    (low, high), value = rows[0]["difference_interval"], rows[0]["difference"]
    return f"{verdict(low, high)}: {100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points"


if __name__ == "__main__":
    what, path = sys.argv[1:]
    printed = json.loads(Path(path).read_text(encoding="utf-8").splitlines()[-1])
    print({"votes": votes_of, "test": verdict_of}[what](printed))
