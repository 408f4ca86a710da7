"""A head reads the plain hidden state of a thinking engine: what it was trained on, whatever the thought changed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from isoflop.api import solve
from isoflop.quietstar.engine import QuietStar
from isoflop.rewards.head_folder import Head, save_head


@pytest.mark.parametrize("think", ["always", "never"])
def test_the_plain_state_is_read(tiny_llama_folder: Path, tmp_path: Path, on_a_plain_model: Any, think: str) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_folder).eval()
    on_a_plain_model(base, 8).save(tmp_path / "thinking")
    AutoTokenizer.from_pretrained(tiny_llama_folder).save_pretrained(tmp_path / "thinking")
    torch.manual_seed(0)
    head = Head(torch.randn(1, 32) / 8, torch.randn(1), "thinking")
    save_head(tmp_path / "head", head)
    model = QuietStar(str(tmp_path / "thinking"), think=think, context_tokens=128, memory_gb=0.1)
    reward, sampling = f"trunk({str(tmp_path / 'head')!r})", "sampling(max_tokens=16, answer_tokens=4)"
    attempt = solve("3 + 4", model=model, strategy="beam(2, 2)", reward=reward, prompt="plain()", sampling=sampling)
    assert attempt.stop == "finished", attempt.message
    assert ("thought" in attempt.charged) == (think == "always")
    for node in attempt.nodes:
        with torch.inference_mode():
            hidden_ND = base.model(torch.tensor([node.tokens])).last_hidden_state[0]
        assert node.step is not None
        expected = float(head.weight_1D[0] @ hidden_ND[-2] + head.bias_1[0])
        assert node.step.readouts == pytest.approx([expected], abs=1e-5)
