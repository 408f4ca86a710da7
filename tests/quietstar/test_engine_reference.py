"""The engine against the public reference's own 16-step generations; skipped where its files are absent."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import load_shape
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local_engine import LocalEngine
from isoflop.quietstar.checkpoint import load_checkpoint
from isoflop.quietstar.engine import QuietStar
from isoflop.quietstar.engine_thinker import QuietThinker
from isoflop.runtime.runner import Runner

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "quietstar"
FOLDERS = sorted(path.parent for path in FIXTURES.glob("*/expected.npz"))
pytestmark = pytest.mark.skipif(not FOLDERS, reason="no reference files beside the checkout")


@pytest.mark.parametrize("vectors", ["learned", "dash"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_sixteen_tokens_and_their_thoughts_are_the_references(folder: Path, vectors: Any) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    inputs, truth = np.load(folder / "inputs.npz"), np.load(folder / "expected.npz")
    spec, shape = QuietStar(str(folder), meta["n_ahead"]), load_shape(folder)
    given = (spec.n_ahead, vectors, meta["dash_token_id"], "auto", "cpu")
    base, parameters, config = load_checkpoint(str(folder), *given)
    runner = Runner(base, slots=2, slot_tokens=64)
    tokens: Any = SimpleNamespace(pieces=[b"."] * runner.vocab_size, end_tokens=frozenset())
    thinker = QuietThinker(runner, tokens.pieces, Pricer(shape), parameters, config, spec)
    engine = LocalEngine(runner, tokens, shape, 2, thinker)
    prompt = Prompt(markers=Markers(step_end=(), stop=()))
    root = Trajectory.at(Origin(Problem("p", ""), prompt, "", tuple(inputs["gen_prompt"].tolist()), 0, "s"))
    engine.submit([GenerationRequest(1, root, 1, 0.0, max_tokens=16, until=Until.END)])
    while not (done := engine.poll()):
        pass
    [step] = done[0].steps
    assert list(step.tokens) == truth[f"{vectors}_greedy_gen_tokens"].tolist()
    expected = truth[f"{vectors}_greedy_gen_thoughts"].tolist()
    assert [list(thought.tokens) for thought in step.thoughts] == expected
