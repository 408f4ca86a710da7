"""Driver, search, ledger and store together: steps per second with an engine that costs (almost) nothing.

Runs one study with the scripted engine, records stored, and divides the steps made by the wall time; the scripted
engine's own share is measured by calling it alone with as many requests, and is left in.

    python benchmarks/driver.py [--problems 400] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study

STRATEGIES = ["rebase(width=16)", "beam(width=4, expand=4)", "self_consistency(n=16)", "weighted_vote(n=16)"]


def main() -> None:
    """Print steps per second by strategy, medians of interleaved repeats, and the median over all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        problems = Path(scratch, "problems.jsonl")
        lines = [json.dumps({"question": f"How much is {i}?", "answer": str(i)}) for i in range(arguments.problems)]
        problems.write_text("\n".join(lines))
        rates: dict[str, list[float]] = {strategy: [] for strategy in STRATEGIES}
        for repeat in range(arguments.repeats):
            for strategy in STRATEGIES:
                rates[strategy].append(
                    measure(strategy, problems, Path(scratch, f"{repeat}-{STRATEGIES.index(strategy)}"))
                )
    print(f"{os.cpu_count()} cores, {arguments.problems} problems, {arguments.repeats} interleaved repeats; one thread")
    for strategy, found in rates.items():
        low, middle, high = min(found), statistics.median(found), max(found)
        print(f"{strategy:28s} {middle:9,.0f} steps/s   (lowest {low:,.0f}, highest {high:,.0f})")
    print(f"{'median over strategies':28s} {statistics.median(map(statistics.median, rates.values())):9,.0f} steps/s")


def measure(strategy: str, problems: Path, folder: Path) -> float:
    """Steps made, stored and voted over per second of one run."""
    arm = Arm.of(model="scripted(steps=8, tokens_per_poll=6)", strategy=strategy, prompt="plain()")
    run = Run.create(Study(f"jsonl(path={str(problems)!r})", [arm]), folder)
    started = time.perf_counter()
    run.execute()
    seconds = time.perf_counter() - started
    return sum(len(record.nodes) for record in run.attempts) / seconds


if __name__ == "__main__":
    main()
