"""What driving a server costs: the same requests with and without us, and how busy a tree search keeps it.

    python benchmarks/remote_engine.py URL MODEL TOKENIZER [--problems 16] [--width 16] [--max-tokens 64] [--repeats 3]

In turns: (a) whole samples through the driver, and the very same bodies sent by a bare client; (b) `rebase(width)` and
plain sampling of about as many tokens. Targets: (a) costs at most 5%, (b) is at least 90% as fast.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx2

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import SamplingParams
from isoflop.core import Problem
from isoflop.engines.remote import Remote
from isoflop.engines.remote_asking import Asker
from isoflop.rewards.base import RewardContext
from isoflop.search.drive import drive
from isoflop.search.job import Job


def driven(engine: Any, strategy: str, problems: int, sampling: SamplingParams, form: str) -> tuple[int, float]:
    """New tokens and seconds of one strategy over all problems at once."""
    chosen = specs.parse("strategy", strategy)
    reward = specs.parse("reward", "logprob()").open(RewardContext()) if chosen.needs_reward else None
    chains = []
    for number in range(problems):
        problem = Problem(str(number), f"Tom has {number + 3} apples and buys {number + 4} more. How many has he?", "7")
        prompt = specs.parse("prompt", form).build(problem)
        chains.append([Job(number, problem, prompt, chosen, sampling, 0, MathGrader(), reward)])
    began = time.perf_counter()
    attempts = list(drive(chains, engine, concurrency=problems))
    seconds = time.perf_counter() - began
    failed = [attempt.message for attempt in attempts if attempt.stop == "error"]
    if failed:
        raise SystemExit(f"{len(failed)} attempts failed, the first so: {failed[0]}")
    return sum(attempt.spent["policy"].new_tokens for attempt in attempts), seconds


async def bare(url: str, bodies: list[Any], at_once: int) -> tuple[int, float]:
    """The same bodies, as fast as a plain client sends them."""
    turns = asyncio.Semaphore(at_once)
    async with httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None)) as client:

        async def one(body: Any) -> int:
            async with turns:
                answer = await client.post(f"{url}/v1/completions", json=body)
                return int(answer.json()["usage"]["completion_tokens"])

        began = time.perf_counter()
        made = await asyncio.gather(*map(one, bodies))
        return sum(made), time.perf_counter() - began


def recorded(run: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """What a run returns, and the bodies that it sends."""
    bodies, original = [], Asker.body

    def body(self: Asker, draft: Any) -> Any:
        bodies.append(original(self, draft))
        return bodies[-1]

    Asker.body = body  # type: ignore[method-assign]
    try:
        return run(), bodies
    finally:
        Asker.body = original  # type: ignore[method-assign]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "model", "tokenizer"):
        options.add_argument(name)
    for name, default in (("problems", 16), ("width", 16), ("max-tokens", 64), ("repeats", 3)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--prompt", default="chat()")
    given = options.parse_args()
    sampling = SamplingParams(max_tokens=given.max_tokens)
    live = given.problems * given.width
    rows: list[tuple[float, float, float]] = []
    with closing(Remote(given.url, given.model, given.tokenizer, max_live=live).open()) as engine:
        if not engine.dialect.whole:
            raise SystemExit("the bare client takes answers whole; this server is asked for streams")
        plain = f"self_consistency(n={given.width})"
        for turn in range(given.repeats):
            (tokens, seconds), bodies = recorded(lambda: driven(engine, plain, given.problems, sampling, given.prompt))
            bare_tokens, bare_seconds = asyncio.run(bare(given.url, bodies, live))
            tree_tokens, tree_seconds = driven(
                engine, f"rebase(width={given.width})", given.problems, sampling, given.prompt
            )
            rows.append((tokens / seconds, bare_tokens / bare_seconds, tree_tokens / tree_seconds))
            print(
                f"turn {turn}: driven {tokens} tokens in {seconds:.1f} s, bare {bare_tokens} in {bare_seconds:.1f} s, "
            )
            print(f"        rebase {tree_tokens} in {tree_seconds:.1f} s", flush=True)
    ours, theirs, tree = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"tokens/s, medians of {given.repeats}: driven {ours:.1f}, bare {theirs:.1f}, rebase {tree:.1f}")
    print(f"driven / bare {ours / theirs:.3f} (target 0.95); rebase / plain sampling {tree / ours:.3f} (target 0.90)")


if __name__ == "__main__":
    main()
