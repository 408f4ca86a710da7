"""The local engine on one random model per architecture, against transformers itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.engines.base import Engine, GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.naive import Naive
from isoflop.runtime.attention import Segment
from isoflop.runtime.loading import load_model
from isoflop.runtime.runner import Batch, Runner

NAMES = ["llama", "mistral", "mistral_window", "qwen2", "gemma3", "gemma2", "qwen3_moe"]
TEXTS = ["Question: Tom has 3 apples and buys 4 more. How many apples does Tom have?\n", "Hi", "3 + 4 = 7\n"]


def greedy(engine: Engine) -> list[list[int]]:
    """The greedy tokens of all texts, generated together; sequences grow longer than any window."""
    prompts = [Prompt(text, markers=Markers(step_end=())) for text in TEXTS]
    roots = [
        Trajectory.at(Origin(Problem(p.text, p.text), p, p.text, engine.encode(p.text, prompt=True), 0, "s"))
        for p in prompts
    ]
    engine.submit([GenerationRequest(n, root, n, 0.0, max_tokens=40, until=Until.END) for n, root in enumerate(roots)])
    tokens: dict[int, list[int]] = {}
    while len(tokens) < len(roots):
        for done in engine.poll():
            tokens[done.id] = [token for step in done.steps for token in step.tokens]
    return [tokens[n] for n in range(len(roots))]


@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_equal_the_naive_twins(tiny_models: dict[str, Path], name: str) -> None:
    local = greedy(Local(str(tiny_models[name]), context_tokens=128, memory_gb=0.1).open())
    assert local == greedy(Naive(str(tiny_models[name]), context_tokens=128).open())
    assert max(map(len, local)) > 12  # longer than the windows


@pytest.mark.parametrize("name", NAMES)
def test_logits_at_all_positions_equal_transformers(tiny_models: dict[str, Path], name: str) -> None:
    """Two sequences in one forward, each fed in three pieces: a prompt, a longer piece, then single tokens."""
    folder = str(tiny_models[name])
    ids = np.random.default_rng(0).integers(3, 300, (2, 40))
    with torch.inference_mode():
        wanted = load_model(folder)(torch.from_numpy(ids)).logits
    runner = Runner(load_model(folder), slots=4, slot_tokens=64)
    where = [3, 1]  # slots with a hole between them
    found: list[list[torch.Tensor]] = [[], []]
    for start, end in ((0, 9), (9, 30)):
        batch = Batch.of_segments(
            [Segment(slot, start, end - start) for slot in where], [row[start:end] for row in ids]
        )
        logits = runner.logits(runner.step(batch, at=np.arange(2 * (end - start))).hidden_RD)
        for row, part in enumerate(logits.chunk(2)):
            found[row].append(part)
    for position in range(30, 40):
        # Decoding rows come in the order of their slots.
        batch = Batch(np.array([1, 3]), np.full(2, position), ids[::-1, position])
        logits = runner.logits(runner.step(batch).hidden_RD)
        found[1].append(logits[:1])
        found[0].append(logits[1:])
    for row in range(2):
        assert torch.allclose(torch.cat(found[row]), wanted[row], atol=1e-4, rtol=1e-4)
