"""Do neighbours change a sequence, and is memory what was asked for? Both on a real model in bfloat16.

bfloat16 kernels are not batch-invariant: a sequence may differ when others share its forward, though its random numbers
are the same. Generates some sequences alone and again among `--live` others, and prints the share that stays equal, how
far the others agree, and the process's highest memory beside what the checkpoint and the slots take.

    python benchmarks/neighbours.py [MODEL] [--sequences 16] [--live 64] [--new-tokens 64] [--threads 2]
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from pathlib import Path

import torch

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.local_engine import LocalEngine
from isoflop.stats.intervals import wilson
from isoflop.studies.hardware import describe_hardware

MODEL = Path.home() / ".cache" / "isoflop-models" / "qwen2.5-coder-0.5b-instruct"
PROBLEMS = Path(__file__).parents[1] / "recipes" / "demo-problems.jsonl"
PROMPT_TOKENS, CONTEXT_TOKENS = 128, 512


def main() -> None:
    """Print the share of equal sequences and the memory taken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(MODEL))
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--live", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--memory-gb", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    before = peak_gb()
    spec = Local(
        given.model,
        dtype="bfloat16",
        device="cpu",
        context_tokens=CONTEXT_TOKENS,
        memory_gb=given.memory_gb,
        max_live=given.live,
        threads=given.threads,
    )
    engine = spec.open()
    loaded = peak_gb()
    crowd = generate(engine, range(given.live), given.new_tokens)
    alone = [generate(engine, [number], given.new_tokens)[number] for number in range(given.sequences)]
    equal = sum(alone[number] == crowd[number] for number in range(given.sequences))
    first = [agreement(alone[number], crowd[number]) for number in range(given.sequences)]
    interval = wilson(equal, given.sequences)
    slots = engine.runner.slots
    held = sum(row.nbytes for row in slots.keys_SKTD + slots.values_SKTD) / 1e9
    print(f"{describe_hardware()}; torch {torch.__version__}, {given.threads} threads, {given.new_tokens} new tokens")
    print(
        f"bfloat16: {equal} of {given.sequences} sequences equal alone and among {given.live} "
        f"({equal / given.sequences:.0%}, 95% interval {interval.low:.0%} to {interval.high:.0%}); on average the "
        f"first {sum(first) / len(first):.1f} of {given.new_tokens} tokens agree"
    )
    print(
        f"memory: {held:.2f} GB in {slots.count} slots (allowed {given.memory_gb:g}); the process peaked at "
        f"{peak_gb():.2f} GB, {before:.2f} of it before the model was opened and {loaded - before:.2f} for the model"
    )


def generate(engine: LocalEngine, numbers: Sequence[int], new_tokens: int) -> dict[int, tuple[int, ...]]:
    """The tokens of these sequences, generated together at temperature 1, each a search of its own."""
    text = engine.encode(PROBLEMS.read_text() * 20)
    requests = []
    for number in numbers:
        tokens = text[number * 131 : number * 131 + PROMPT_TOKENS]
        origin = Origin(
            Problem(str(number), ""), Prompt(markers=Markers(step_end=())), "", tokens, 0, f"search {number}"
        )
        requests.append(
            GenerationRequest(number, Trajectory.at(origin), number, max_tokens=new_tokens, until=Until.END)
        )
    engine.submit(requests)
    found: dict[int, tuple[int, ...]] = {}
    while len(found) < len(requests):
        for done in engine.poll():
            found[done.id] = tuple(token for step in done.steps for token in step.tokens)
    for number in numbers:
        engine.release(f"search {number}")
    return found


def agreement(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens agree before the first that differs."""
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def peak_gb() -> float:
    """The highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
