"""`rebase(width=16)` over several problems: the local engine against its naive twin, and the driver's own share.

Both engines get the same jobs with the same seeds; the twin re-encodes every prefix with one padded `generate` per
search and depth. Runs are interleaved; the ratio of medians is printed. The driver's share is the wall time outside the
engine's `submit` and `poll`.

    python benchmarks/search_speed.py MODEL_FOLDER [--problems 8] [--width 16] [--repeats 3] [--max-tokens 128]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from contextlib import closing
from pathlib import Path

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import SamplingParams
from isoflop.engines.base import Engine
from isoflop.engines.wrapped import Wrapped
from isoflop.rewards.base import RewardContext
from isoflop.rewards.logprob import LogProb
from isoflop.search.drive import drive
from isoflop.search.job import Job

PROBLEMS = Path(__file__).parents[1] / "recipes" / "demo-problems.jsonl"


class Clocked(Wrapped):
    """Adds up the seconds spent inside the engine."""

    seconds = 0.0

    def submit(self, requests):  # type: ignore[no-untyped-def]
        """As the inner engine."""
        started = time.perf_counter()
        self.inner.submit(requests)
        self.seconds += time.perf_counter() - started

    def poll(self):  # type: ignore[no-untyped-def]
        """As the inner engine."""
        started = time.perf_counter()
        done = self.inner.poll()
        self.seconds += time.perf_counter() - started
        return done


def main() -> None:
    """Print seconds, tokens, the ratio and the driver's share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=128)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {"local": [], "naive": []}
    share: list[float] = []
    for _ in range(arguments.repeats):
        for name, measured in seconds.items():
            with closing(specs.parse("engine", f"{name}(model={arguments.model!r})").open()) as engine:
                elapsed, inside, tokens, steps = run(engine, arguments)
            measured.append(elapsed)
            if name == "local":
                share.append(1 - inside / elapsed)
            print(f"{name:6s} {elapsed:7.1f} s   {tokens:6d} new tokens   {steps:5d} steps", flush=True)
    local, naive = statistics.median(seconds["local"]), statistics.median(seconds["naive"])
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{os.cpu_count()} cores; rebase(width={arguments.width}), {arguments.problems} problems")
    print(f"naive / local = {naive:.1f} s / {local:.1f} s = {naive / local:.2f}")
    print(f"driver's share of the local run: {100 * statistics.median(share):.2f}%   peak memory {peak_gib:.1f} GiB")


def run(engine: Engine, arguments: argparse.Namespace) -> tuple[float, float, int, int]:
    """Seconds, seconds inside the engine, new tokens and steps of one run over all problems."""
    problems = specs.parse("problems", f"jsonl(path={str(PROBLEMS)!r}, limit={arguments.problems})").load("test")
    strategy = specs.parse("strategy", f"rebase(width={arguments.width})")
    prompt = specs.parse("prompt", "chat(shots=1)")
    sampling = SamplingParams(max_tokens=arguments.max_tokens)
    reward = LogProb().open(RewardContext())
    jobs = [[Job(one.id, one, prompt.build(one), strategy, sampling, 0, MathGrader(), reward)] for one in problems]
    clocked = Clocked(engine)
    started = time.perf_counter()
    attempts = list(drive(jobs, clocked, concurrency=arguments.problems))
    elapsed = time.perf_counter() - started
    tokens = sum(attempt.charged["policy"].new_tokens for attempt in attempts)
    return elapsed, clocked.seconds, tokens, sum(len(attempt.nodes) for attempt in attempts)


if __name__ == "__main__":
    main()
