"""Seconds and memory of one training step of thoughts, drawing included, on one thread: ours against separate passes.

`ours` is `draw_and_roll_out`: visible rows once for all thoughts of a position, each row once, n_ahead - 2 forwards.
`separate` is the sequential form: every sequence once per thought, n_ahead + talk - 1 passes over a growing cache with
dense masks, thoughts drawn between passes, gradients through all. It is spared what the public code computes besides.
`published` adds that: a loss of every pass, the head applied twice in each, drawn tokens as one-hot rows times all of
the table (forward alone, so it is a lower bound of the public code). All draw alike and end in the faithful loss.

    OMP_NUM_THREADS=1 python benchmarks/thought_training.py [--repeats 5] [--shapes fixture]

Seconds are the processor's, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import one_hot
from transformers import MistralConfig, MistralForCausalLM

from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.loss import faithful_losses, token_losses
from isoflop.quietstar.naive import naive_roll_out
from isoflop.quietstar.rollout import Rollout, draw_and_roll_out
from isoflop.studies.hardware import describe_hardware

THOUGHTS, TALK, N_AHEAD = 2, 4, 8
# hidden, MLP, layers, vocabulary, heads, key-value heads, sequences, tokens
SHAPES = {
    "fixture": (64, 128, 3, 202, 4, 2, 3, 24),
    "hidden 256, 64 tokens": (256, 896, 4, 2002, 8, 2, 2, 64),
    "hidden 256, 256 tokens": (256, 896, 4, 2002, 8, 2, 1, 256),
}


def main() -> None:
    """Interleaved medians for every shape; peak memory from a process of its own for each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", nargs=2, metavar=("SHAPE", "SIDE"), help="print one side's peak memory in MB")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        print(peak_megabytes(*given.memory))
        return
    print(f"{describe_hardware()}; torch {torch.__version__}, 1 thread; n_ahead {N_AHEAD}, talk {TALK}")
    for shape in given.shapes:
        compare(shape, given.repeats)


def compare(shape: str, repeats: int) -> None:
    """One line: medians, single runs, ratio, memory above the model's own."""
    model, ids = build(shape)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(repeats + 1):
        for side, run in SIDES.items():
            began = time.process_time()
            step(model, ids, run)
            seconds[side].append(time.process_time() - began)
    medians = {side: statistics.median(found[1:]) for side, found in seconds.items()}
    command = [sys.executable, __file__, "--memory", shape]
    memory = {side: subprocess.run([*command, side], capture_output=True, text=True).stdout.strip() for side in SIDES}
    for side in SIDES:
        runs = " ".join(f"{one:.3f}" for one in sorted(seconds[side][1:]))
        print(f"{shape:24s} {side:9s} {medians[side]:.3f} s  (runs {runs})  {memory[side]} MB above the model")
    ratios = ", ".join(f"{side} {medians[side] / medians['ours']:.2f}" for side in ("separate", "published"))
    print(f"{shape:24s} times ours: {ratios}", flush=True)


def build(shape: str) -> tuple[ThoughtModel, torch.Tensor]:
    """A random Mistral with untrained thoughts, and random ids."""
    hidden, mlp, layers, vocabulary, heads, kv_heads, sequences, tokens = SHAPES[shape]
    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        vocab_size=vocabulary,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        sliding_window=None,
    )
    model = ThoughtModel.put_on(MistralForCausalLM(config), n_ahead=N_AHEAD).requires_grad_(True)
    return model, torch.randint(0, vocabulary, (sequences, tokens))


def step(model: ThoughtModel, ids: torch.Tensor, run: Callable[[ThoughtModel, torch.Tensor], Rollout]) -> None:
    """Draw, score, gradients."""
    torch.manual_seed(1)
    model.zero_grad()
    faithful_losses(model, run(model, ids)).total.backward()


def drawn(_: int, logits: torch.Tensor) -> torch.Tensor:
    """A draw from the softmax."""
    return torch.multinomial(logits.softmax(-1).flatten(0, 1), 1).view(logits.shape[:-1])


def ours(model: ThoughtModel, ids: torch.Tensor) -> Rollout:
    """Drawn on the way, each row once."""
    return draw_and_roll_out(model, ids, torch.ones_like(ids), drawn, thoughts=THOUGHTS, talk=TALK)


def separate(model: ThoughtModel, ids: torch.Tensor) -> Rollout:
    """One pass after the other."""
    return naive_roll_out(model, ids, torch.ones_like(ids), drawn, thoughts=THOUGHTS, talk=TALK)


def published(model: ThoughtModel, ids: torch.Tensor) -> Rollout:
    """The same, and what the public code computes in each pass and does not train by."""
    rollout = separate(model, ids)
    labels_BPS = rollout.labels_BS[:, None].expand(-1, THOUGHTS, -1)
    base_BPSH = rollout.visible_BSH[:, None].expand(-1, THOUGHTS, -1, -1)
    for hidden_BPSH in (*rollout.thought_BGPAH.unbind(1), *rollout.talk_BKPAH[:, 1:].unbind(1)):
        mixed_BPSH, _ = model.thought_parameters.mix(base_BPSH, hidden_BPSH)
        token_losses(model, mixed_BPSH, labels_BPS)
        model.logits(hidden_BPSH)
    table = model.embed(torch.arange(model.vocab_size))
    for tokens_BPS in rollout.thoughts_BPAN.unbind(-1):
        one_hot(tokens_BPS, model.vocab_size).to(table.dtype) @ table
    return rollout


SIDES = {"ours": ours, "separate": separate, "published": published}


def peak_megabytes(shape: str, side: str) -> int:
    """What one step adds to the process's largest resident size. (`getrusage` would count the parent's too.)"""
    model, ids = build(shape)
    before = largest_kilobytes()
    step(model, ids, SIDES[side])
    return (largest_kilobytes() - before) // 1024


def largest_kilobytes() -> int:
    """Largest resident size of this program so far (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
