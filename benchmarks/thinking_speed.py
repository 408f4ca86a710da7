"""Seconds of a thought token: the engine against the twin that recomputes everything, and against its own plain token.

A random Llama of hidden size 256, 4 layers, vocabulary 2002, n_ahead 8, one sequence, greedy, one thread, float32. The
twin runs every position through the whole model at every token, so its time is a sum over all lengths: it is timed at a
few lengths, each twice, and the sum is taken over a quadratic through the medians (attention is quadratic, the rest
linear in length); the output says so. FLOPs of Mistral-7B's shape at 300 tokens are by formula.

    python benchmarks/thinking_speed.py [--tokens 512] [--prompt 64] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import shape_from_config
from isoflop.engines.base import Engine, GenerationRequest, Until
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.cost import cached_flops, reference_flops
from isoflop.quietstar.engine import QuietStar
from isoflop.quietstar.naive import naive_next_token
from isoflop.studies.hardware import describe_hardware
from small_model import save

SHAPE = {
    "vocab_size": 2002,
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
MISTRAL_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "vocab_size": 32002,
}
TWIN_LENGTHS = (64, 160, 288, 400, 511)


def main() -> None:
    """Print seconds, ratios and FLOPs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512, help="prompt and new tokens together")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{describe_hardware()}; torch {torch.__version__}, 1 thread")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save(folder)  # for the tokenizer; the model is replaced
        torch.manual_seed(0)
        config = LlamaConfig(**SHAPE, eos_token_id=None, bos_token_id=None, tie_word_embeddings=False, dtype="float32")
        ThoughtModel.put_on(LlamaForCausalLM(config)).save(folder)
        engines = {think: open_engine(folder, think, given.tokens) for think in ("always", "never")}
        runs: dict[str, list[float]] = {think: [] for think in engines}
        for _ in range(given.repeats):
            for think, engine in engines.items():
                runs[think].append(seconds(engine, given.prompt, given.tokens - given.prompt))
        cached, plain = (statistics.median(runs[think]) for think in ("always", "never"))
        print(f"{given.prompt} prompt tokens and {given.tokens - given.prompt} new ones; n_ahead 8")
        for think, label in (("always", "thinking"), ("never", "plain")):
            print(
                f"{label:9s} {statistics.median(runs[think]):7.3f} s  runs: {' '.join(f'{t:.3f}' for t in runs[think])}"
            )
        print(f"thinking / plain: {cached / plain:.2f} (target: at most 6.5)")
        twin = twin_seconds(ThoughtModel.load(folder, 8), given.prompt, given.tokens)
        print(f"twin / thinking: {twin / cached:.1f} (target: at least 45)")
    flops()


def open_engine(folder: Path, think: str, tokens: int) -> Engine:
    """The engine with room for one sequence and a few more."""
    spec = QuietStar(str(folder), think=think, context_tokens=tokens + 8, memory_gb=0.05, device="cpu", threads=1)
    return spec.open()


def seconds(engine: Engine, prompt_tokens: int, new_tokens: int) -> float:
    """One sequence, prefill included."""
    prompt = Prompt(markers=Markers(step_end=(), stop=()))
    tokens = tuple(place * 7 % 250 + 1 for place in range(prompt_tokens))
    root = Trajectory.at(Origin(Problem("p", ""), prompt, "", tokens, 0, "s"))
    began = time.perf_counter()
    engine.submit([GenerationRequest(1, root, 1, 0.0, max_tokens=new_tokens, until=Until.END)])
    while not (done := engine.poll()):
        pass
    passed = time.perf_counter() - began
    made = sum(step.sampled for step in done[0].steps)
    engine.release("s")
    if made != new_tokens:
        raise SystemExit(f"the sequence ended after {made} of {new_tokens} tokens; nothing is measured")
    return passed


def twin_seconds(model: ThoughtModel, prompt_tokens: int, tokens: int) -> float:
    """The sum over all lengths, by a quadratic through the medians at a few."""
    lengths = [length for length in TWIN_LENGTHS if prompt_tokens <= length < tokens]
    measured = []
    for length in lengths:
        runs = []
        for _ in range(2):
            began = time.perf_counter()
            naive_next_token(model, np.arange(length) * 7 % 250 + 1)
            runs.append(time.perf_counter() - began)
        measured.append(statistics.median(runs))
        print(f"twin: one token at length {length}: {measured[-1]:.3f} s")
    fit = np.polyfit(lengths, measured, 2)
    total = float(np.polyval(fit, np.arange(prompt_tokens, tokens)).sum())
    print(f"twin: {total:.0f} s for all tokens, summed over a quadratic through these, not run in full")
    return total


def flops() -> None:
    """Mistral-7B's shape, one token at 300."""
    shape = shape_from_config(MISTRAL_7B)
    reference, cached = (count(shape, n_ahead=8, context=300) for count in (reference_flops, cached_flops))
    plain = Pricer(shape).decode(299, 1)
    print(
        f"Mistral-7B at 300 tokens: reference {reference / 1e9:,.0f} GFLOPs, cached {cached / 1e9:.1f} "
        f"(1/{reference / cached:.0f}; target at most 1/300), plain {plain / 1e9:.1f}"
    )


if __name__ == "__main__":
    main()
