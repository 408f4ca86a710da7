"""Small engines that think, and requests to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.engines.base import Generation, GenerationRequest, Until
from isoflop.engines.local_engine import LocalEngine
from isoflop.quietstar.engine import QuietStar
from isoflop.randomness import stream_key

NAMES = ["llama", "mistral_window", "gemma2"]
TEXTS = ["Question: Tom has 3 apples and buys 4 more.\n", "Hi", "3 + 4 = 7\n"]


def opened(folder: Path, **fields: Any) -> LocalEngine:
    return QuietStar(str(folder), context_tokens=128, memory_gb=fields.pop("memory_gb", 0.1), **fields).open()


def root(engine: LocalEngine, text: str, search: str = "s", step_end: tuple[str, ...] = ("\n",)) -> Trajectory:
    prompt = Prompt(text, markers=Markers(step_end=step_end))
    tokens = engine.encode(text, prompt=True)
    return Trajectory.at(Origin(Problem(text, text), prompt, text, tokens, 0, search))


def ask(number: int, parent: Trajectory, index: int = 0, tokens: int = 8, **fields: Any) -> GenerationRequest:
    stream = stream_key(0, parent.origin.problem.id, (*parent.path, index))
    fields = {"until": Until.END} | fields
    return GenerationRequest(number, parent, stream, max_tokens=tokens, child=index, **fields)


def run(
    engine: LocalEngine, requests: Sequence[GenerationRequest], later: Sequence[GenerationRequest] = ()
) -> list[Generation]:
    """Replies in order; `later` ones join after three tokens."""
    done: dict[int, Generation] = {}
    engine.submit(requests)
    for turn in range(1000):
        if turn == 3:
            engine.submit(later)
        done |= {one.id: one for one in engine.poll()}
        if len(done) == len(requests) + len(later):
            break
    return [done[request.id] for request in [*requests, *later]]
