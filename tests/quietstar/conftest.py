"""Thoughts with random weights on tiny models of several architectures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from thinking_engines import NAMES
from transformers import AutoModelForCausalLM, AutoTokenizer

from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.config import ThoughtConfig
from isoflop.quietstar.training.settings import Training

THOUGHT_IDS = (382, 383)
Build = Callable[..., ThoughtModel]


def with_random_thoughts(base: Any, n_ahead: int, seed: int = 1, ids: tuple[int, ...] = THOUGHT_IDS) -> ThoughtModel:
    """Vectors and a talk head large enough that every input of a thought moves the logits."""
    plain = ThoughtModel.put_on(base, n_ahead=n_ahead, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    parameters = plain.thought_parameters
    with torch.no_grad():
        for vector in (parameters.start_embedding, parameters.end_embedding):
            vector.copy_(torch.randn(vector.shape, generator=generator) * 0.01)
        for weight in parameters.talk_head.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return ThoughtModel(base, parameters, ThoughtConfig(n_ahead, ids)).eval()


@pytest.fixture(scope="session")
def thinking(tiny_models: dict[str, Path]) -> Build:
    """`thinking("qwen2", 8)`: one base model per architecture, loaded once."""
    bases: dict[tuple[str, str], Any] = {}

    def build(name: str, n_ahead: int = 8, dtype: str = "float32") -> ThoughtModel:
        key = (name, dtype)
        if key not in bases:
            folder, wanted = tiny_models[name], getattr(torch, dtype)
            bases[key] = AutoModelForCausalLM.from_pretrained(folder, dtype=wanted).eval()
        return with_random_thoughts(bases[key], n_ahead)

    return build


@pytest.fixture(scope="session")
def on_a_plain_model() -> Callable[..., ThoughtModel]:
    """The same on a model that the test makes itself."""
    return with_random_thoughts


@pytest.fixture
def settings(tiny_llama_folder: Path, tmp_path: Path) -> Training:
    """A run of 4 steps that saves after 2 and 4."""
    data = tmp_path / "text.jsonl"
    data.write_text(
        "".join(json.dumps({"text": f"{n} + {n} = {2 * n}\nThe answer is {2 * n}."}) + "\n" for n in range(7))
    )
    small = {"n_ahead": 5, "talk": 2, "length": 12, "batch": 2, "accumulate": 2, "positions": "random(4)"}
    rates = {"base_rate": 1e-3, "vector_rate": 1e-3, "head_rate": 1e-2, "warmup_steps": 1}
    out = str(tmp_path / "run")
    return Training(str(tiny_llama_folder), str(data), out, steps=4, save_every=2, **small, **rates)


@pytest.fixture(scope="session")
def folders(tiny_models: dict[str, Path], tmp_path_factory: Any, on_a_plain_model: Any) -> dict[str, Path]:
    """Checkpoints with random thoughts, and their tokenizers."""
    found = {}
    for name in NAMES:
        found[name] = tmp_path_factory.mktemp("thinking") / name
        base = AutoModelForCausalLM.from_pretrained(tiny_models[name]).eval()
        on_a_plain_model(base, 8).save(found[name])
        AutoTokenizer.from_pretrained(tiny_models[name]).save_pretrained(found[name])
    return found
