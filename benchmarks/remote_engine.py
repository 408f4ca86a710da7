"""What driving a real vLLM server costs: the same requests with and without us, and how busy a tree search keeps it.

    python benchmarks/remote_engine.py MODEL --vllm VENV      # starts the server and stops it
    python benchmarks/remote_engine.py MODEL --url URL        # on one that serves MODEL as `policy`

Three runs in turns, the order of the last two reversed every other turn, the server's cache of prefixes emptied before
each: `driven`, whole samples through the driver; `bare`, the bodies that it sent, from a plain client, each when the
answer before it is in; `tree`, `rebase(width)` over the same problems. A few short samples warm up.

Targets: driven / bare at least 0.95 of the throughput, and the server at least 0.90 as busy in `tree` as in `driven`.
Busy is told three ways: tokens made per second; tokens worked through per second (those read and not cached, too); and
the share of the time in which it had requests running, with their mean number, asked of it once a second.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import SamplingParams
from isoflop.core import Problem
from isoflop.engines.remote import Remote
from isoflop.engines.remote_asking import Asker
from isoflop.engines.remote_replies import Usage, usage_of
from isoflop.rewards.base import RewardContext
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.studies.hardware import describe_hardware
from vllm_server import Server

Bodies = dict[Any, list[Any]]  # of each sample: one behind the other
CACHE = ("--block-size", "32", "--enable-prompt-tokens-details")  # 32 is the least that vLLM takes on a CPU
# vLLM 0.32 on a CPU ends where a prompt with a seed is read in parts: "CPU Generator does not use offset".
WHOLE_PROMPTS = ("--no-enable-chunked-prefill",)


@dataclass
class Taken:
    """One run: tokens made, tokens read that were not cached, its time, our own processor time, what was running."""

    made: int
    read: int
    seconds: float = 0.0
    own_seconds: float = 0.0
    running: list[float] = field(default_factory=list)

    @property
    def made_rate(self) -> float:
        return self.made / self.seconds

    @property
    def worked_rate(self) -> float:
        return (self.made + self.read) / self.seconds

    @property
    def busy(self) -> float:
        return statistics.fmean(count > 0 for count in self.running) if self.running else float("nan")

    @property
    def mean_running(self) -> float:
        return statistics.fmean(self.running) if self.running else float("nan")

    def __str__(self) -> str:
        own = 1e6 * self.own_seconds / self.made
        return (
            f"{self.made} made, {self.read} read in {self.seconds:.1f} s: {self.made_rate:.1f} and "
            f"{self.worked_rate:.1f} tokens/s; ours {own:.0f} us a token; busy {self.busy:.2f}, "
            f"{self.mean_running:.0f} running"
        )


def driven(engine: Any, strategy: str, given: argparse.Namespace) -> Taken:
    """One strategy over all problems at once."""
    chosen = specs.parse("strategy", strategy)
    reward = specs.parse("reward", "logprob()").open(RewardContext()) if chosen.needs_reward else None
    sampling = SamplingParams(max_tokens=given.max_tokens, answer_tokens=4)
    chains = []
    for number in range(given.problems):
        problem = Problem(str(number), f"Tom has {number + 3} apples and buys {number + 4} more. How many has he?", "7")
        prompt = specs.parse("prompt", given.prompt).build(problem)
        chains.append([Job(number, problem, prompt, chosen, sampling, 0, MathGrader(), reward)])
    attempts = list(drive(chains, engine, concurrency=given.problems))
    failed = [attempt.message for attempt in attempts if attempt.stop == "error"]
    if failed:
        raise SystemExit(f"{len(failed)} attempts failed, the first so: {failed[0]}")
    spent = [attempt.spent["policy"] for attempt in attempts]
    return Taken(sum(cost.new_tokens for cost in spent), sum(cost.prompt_tokens for cost in spent))


async def bare(url: str, bodies: Bodies) -> Taken:
    """The same bodies, as fast as plain clients send them, a few samples each: httpx slows down with the connections
    that one client has open."""

    async def few(samples: list[list[Any]]) -> list[list[Usage]]:
        async with httpx2.AsyncClient(timeout=None) as client:

            async def one(sample: list[Any]) -> list[Usage]:
                answers = [(await client.post(f"{url}/v1/completions", json=body)).json() for body in sample]
                return [usage_of(answer) for answer in answers]

            return await asyncio.gather(*map(one, samples))

    samples = list(bodies.values())
    parts = await asyncio.gather(*(few(samples[start : start + 8]) for start in range(0, len(samples), 8)))
    told = [usages for part in parts for usages in part]
    usages = [usage for sample in told for usage in sample]
    read = sum(usage.prompt_tokens - (usage.cached_tokens or 0) for usage in usages)
    return Taken(sum(usage.new_tokens for usage in usages), read)


def recorded(run: Callable[[], Taken]) -> tuple[Taken, Bodies]:
    """What a run took, and the bodies that it sent, by sample."""
    bodies, original = defaultdict(list), Asker.body

    def body(self: Asker, draft: Any) -> Any:
        request, made = draft.request, original(self, draft)
        sample = (*request.parent.path, request.child)[0]
        bodies[request.parent.origin.problem.id, sample].append(made)
        return made

    Asker.body = body  # type: ignore[method-assign]
    try:
        return run(), bodies
    finally:
        Asker.body = original  # type: ignore[method-assign]


def measured(url: str, run: Callable[[], Taken]) -> Taken:
    """A run from an empty cache, with its times and what the server had running."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/reset_prefix_cache", method="POST")).close()
    over, running = threading.Event(), []

    def watch() -> None:
        while not over.wait(1.0):
            running.append(running_now(url))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, own = time.perf_counter(), time.process_time()
    taken = run()
    taken.seconds, taken.own_seconds = time.perf_counter() - began, time.process_time() - own
    over.set()
    watcher.join()
    taken.running = running
    return taken


def running_now(url: str) -> float:
    """How many requests the server is at work on."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:
        found = re.search(r"^vllm:num_requests_running\S* (\S+)$", reply.read().decode(), re.MULTILINE)
    return float(found[1]) if found else float("nan")


def ratios(name: str, pairs: list[tuple[float, float]], target: float | None) -> None:
    """The ratio of the medians, with the ratios of the single turns."""
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    single = ", ".join(f"{a / b:.3f}" for a, b in pairs)
    print(f"{name}: {ours / theirs:.3f} ({single})" + (f", target {target}" if target else ""), flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", help="its folder: tokenizer and shape")
    where = options.add_mutually_exclusive_group(required=True)
    where.add_argument("--vllm", type=Path, help="virtual environment with vLLM, which serves the model")
    where.add_argument("--url", help="a vLLM server that runs (VLLM_SERVER_DEV_MODE=1, to empty its cache)")
    for name, default in (("problems", 16), ("width", 16), ("max-tokens", 12), ("repeats", 2)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--binding", default="nobind", help="VLLM_CPU_OMP_THREADS_BIND")
    options.add_argument(
        "--prompt",
        default="chat(shots=0, step_end=['\\n', '.', ','])",
        help="by default short steps, so that there are many rounds",
    )
    given = options.parse_args()
    live = given.problems * given.width
    print(f"{describe_hardware()}; {given}", flush=True)
    with ExitStack() as stack:
        url = given.url
        if given.vllm:
            serving = {"eager": True, "binding": given.binding, "live": live, "options": (*CACHE, *WHOLE_PROMPTS)}
            url = stack.enter_context(Server(given.vllm, given.model, **serving)).url
        engine = stack.enter_context(closing(Remote(url, "policy", given.model, max_live=live).open()))
        if not engine.dialect.whole:
            raise SystemExit("the bare client takes answers whole; this server is asked for streams")
        compare(url, engine, given)


def compare(url: str, engine: Any, given: argparse.Namespace) -> None:
    """The turns, and what came out."""
    plain, tree = f"self_consistency(n={given.width})", f"rebase(width={given.width})"
    driven(engine, "self_consistency(n=2)", given)
    taken: dict[str, list[Taken]] = {"driven": [], "bare": [], "tree": []}
    for turn in range(given.repeats):
        ours, bodies = recorded(lambda: measured(url, lambda: driven(engine, plain, given)))
        runs: dict[str, Callable[[], Taken]] = {
            "bare": partial(measured, url, lambda bodies=bodies: asyncio.run(bare(url, bodies))),
            "tree": partial(measured, url, lambda: driven(engine, tree, given)),
        }
        taken["driven"].append(ours)
        for name in sorted(runs, reverse=turn % 2 == 1):
            taken[name].append(runs[name]())
        for name, each in taken.items():
            print(f"turn {turn}, {name}: {each[-1]}", flush=True)

    def pairs(ours: str, theirs: str, value: Callable[[Taken], float]) -> list[tuple[float, float]]:
        return [(value(a), value(b)) for a, b in zip(taken[ours], taken[theirs], strict=True)]

    ratios("driven / bare, tokens made per second", pairs("driven", "bare", lambda run: run.made_rate), 0.95)
    ratios("tree / driven, tokens made per second", pairs("tree", "driven", lambda run: run.made_rate), None)
    ratios("tree / driven, tokens worked through per second", pairs("tree", "driven", lambda run: run.worked_rate), 0.9)
    ratios("tree / driven, share of the time at work", pairs("tree", "driven", lambda run: run.busy), 0.9)
    ratios("tree / driven, requests running", pairs("tree", "driven", lambda run: run.mean_running), None)


if __name__ == "__main__":
    main()
