"""Tokens per second of the local engine on a model of half a million parameters, on one thread.

At this size a step takes milliseconds, so what is measured is everything around the multiplications: small tensor
operations, Python, cutting into steps. 256 sequences (32 searches of 8) of 16 prompt and 64 new tokens each, with
steps ending at newlines and a stop string, as in a search. Compared with nothing; the roofline is printed.

    python benchmarks/small_model.py [--live 256] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import load_shape
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.local_engine import LocalEngine
from isoflop.studies.hardware import describe_hardware
from roofline import measure_machine

SHAPE = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
PROMPT_TOKENS, NEW_TOKENS, SIBLINGS = 16, 64, 8


def main() -> None:
    """Print tokens per second for both number formats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{describe_hardware()}; torch {torch.__version__}, 1 thread")
    with tempfile.TemporaryDirectory() as scratch:
        save(Path(scratch))
        shape = load_shape(scratch)
        print(f"a random Llama of {shape.parameters:,} parameters, {given.live} live sequences")
        for dtype in ("float32", "bfloat16"):
            spec = Local(scratch, dtype=dtype, device="cpu", context_tokens=128, max_live=given.live, threads=1)
            engine = spec.open()
            rates = [measure(engine, given.live, repeat) for repeat in range(given.repeats + 1)][1:]
            pricer = Pricer(shape.in_dtype(dtype))
            machine = measure_machine(getattr(torch, dtype))
            roof = machine.tokens_per_second(pricer, given.live, PROMPT_TOKENS + NEW_TOKENS // 2)
            rate = statistics.median(rates)
            spread = " ".join(f"{one:,.0f}" for one in sorted(rates))
            print(f"{dtype:8s} {rate:9,.0f} tokens/s  {rate / roof:4.0%} of the roofline ({machine})  runs: {spread}")


def save(folder: Path) -> None:
    """A random model and a byte-level tokenizer without merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(["<eos>", *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, eos_token_id=0, bos_token_id=None, tie_word_embeddings=False, dtype="float32")
    LlamaForCausalLM(config).save_pretrained(folder)


def measure(engine: LocalEngine, live: int, repeat: int) -> float:
    """Tokens per second of one round, prefill included."""
    prompt = Prompt(markers=Markers(stop=("Question:",)))
    requests, searches = [], [f"{repeat} {number}" for number in range(live // SIBLINGS)]
    for number, search in enumerate(searches):
        tokens = tuple((number * 31 + place * 7) % 250 + 1 for place in range(PROMPT_TOKENS))
        root = Trajectory.at(Origin(Problem(search, ""), prompt, "", tokens, 0, search))
        for sibling in range(SIBLINGS):
            stream = number * SIBLINGS + sibling
            request = GenerationRequest(stream, root, stream, 1.0, max_tokens=NEW_TOKENS, until=Until.END)
            requests.append(request)
    began = time.perf_counter()
    engine.submit(requests)
    made, waiting = 0, len(requests)
    while waiting:
        for done in engine.poll():
            waiting -= 1
            made += sum(len(step.logprobs) for step in done.steps)
    seconds = time.perf_counter() - began
    for search in searches:
        engine.release(search)
    return made / seconds


if __name__ == "__main__":
    main()
