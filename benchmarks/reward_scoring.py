"""The cached scorer against the naive twin that encodes every prefix anew, over trees of 8 steps.

Random weights of a middling size (4 layers, hidden size 256) under three public formats: Math-Shepherd, RLHFlow and
Qwen's process reward model; float32, one thread. Trees as searches make them: `beam` keeps 4 prefixes and grows 2
children of each, `rebase` shares a width of 8 among all open prefixes, unevenly; each depth is one call. Both score the
same trees in turns, one after the other, each from nothing; the medians and all runs are printed.

    python benchmarks/reward_scoring.py [--steps 8] [--repeats 3] [--searches 1]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.rewards.base import Reward, RewardContext
from isoflop.studies.hardware import describe_hardware

SHAPE: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.1,  # far enough from 0 for rewards that differ
}
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORMATS = ("math_shepherd", "rlhflow", "qwen_prm")
WORDS = ("she", "has", "apples", "3 + 4 = 7", "and then", "gives", "2 of them", "away,", "so", "5 are left")
QUESTION = "Janet has 3 apples, buys 4 more and gives 2 to a friend. How many apples does she have in the end?"
WIDTH = 8


def main() -> None:
    """Print a line for each format and kind of tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--searches", type=int, default=1, help="problems whose trees are scored together")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{describe_hardware()}; torch {torch.__version__}, 1 thread, float32")
    print(f"{given.searches} searches of width {WIDTH} and {given.steps} steps; targets: 4, 2.5, 1e-4")
    with tempfile.TemporaryDirectory() as scratch:
        for form in FORMATS:
            folder = Path(scratch) / form
            save(folder, process_head=form == "qwen_prm")
            for kind in ("beam", "rebase"):
                compare(form, str(folder), levels(kind, given.searches, given.steps), kind, given.repeats)


def compare(form: str, folder: str, tree: Sequence[Sequence[Trajectory]], kind: str, repeats: int) -> None:
    """Score the same tree in turns; the first turn is not timed."""
    twins = {
        cached: specs.parse("reward", f"{form}({folder!r}, cached={cached})").open(RewardContext())
        for cached in (True, False)
    }
    seconds: dict[bool, list[float]] = {cached: [] for cached in twins}
    for _ in range(repeats + 1):
        told = {}
        for cached, reward in twins.items():
            began = time.perf_counter()
            told[cached] = score(reward, tree)
            seconds[cached].append(time.perf_counter() - began)
    (fast, few), (slow, many) = told[True], told[False]
    runs = {cached: timed[1:] for cached, timed in seconds.items()}
    medians = {cached: statistics.median(timed) for cached, timed in runs.items()}
    furthest = max(abs(one - other) for one, other in zip(fast, slow, strict=True))
    spread = "; ".join(f"{label} {' '.join(f'{s:.2f}' for s in runs[key])}" for key, label in RUNS)
    print(
        f"{form:14s}{kind:7s} FLOPs 1/{many / few:.2f}  time 1/{medians[False] / medians[True]:.2f}  "
        f"largest difference {furthest:.1e}  s: {spread}",
        flush=True,
    )
    for reward in twins.values():
        reward.close()


RUNS = ((True, "cached"), (False, "twin"))


def score(reward: Reward, tree: Sequence[Sequence[Trajectory]]) -> tuple[list[float], int]:
    """All rewards, depth by depth, and the FLOPs that were spent; what was held is let go."""
    told = [reward.score(level) for level in tree]
    for search in {node.origin.search for node in tree[0]}:
        reward.release(search)
    rewards = chain.from_iterable(steps for scores in told for steps in scores.rewards)
    return list(rewards), sum(cost.flops for scores in told for spent in scores.spent for cost in spent.values())


def levels(kind: str, searches: int, steps: int) -> list[list[Trajectory]]:
    """For each depth the children that a search would have scored, of all searches."""
    draw = random.Random(kind)
    open_ends = [[root(f"{kind}-{number}")] for number in range(searches)]
    depths = []
    for _ in range(steps):
        open_ends = [grown(draw, kind, nodes) for nodes in open_ends]
        depths.append([node for nodes in open_ends for node in nodes])
    return depths


def grown(draw: random.Random, kind: str, nodes: list[Trajectory]) -> list[Trajectory]:
    """WIDTH children: two of each of four (beam), or of parents drawn with uneven weights (rebase)."""
    if kind == "beam":
        kept = draw.sample(nodes, min(WIDTH // 2, len(nodes)))
        parents = [kept[place % len(kept)] for place in range(WIDTH)]
    else:
        parents = draw.choices(nodes, [draw.random() ** 3 for _ in nodes], k=WIDTH)
    return [
        parent.extend(Step(" ".join(draw.choices(WORDS, k=draw.randint(6, 12))) + "\n", (1,) * 16), place)
        for place, parent in enumerate(parents)
    ]


def root(search: str) -> Trajectory:
    """A problem's root."""
    return Trajectory.at(Origin(Problem(search, f"{search}: {QUESTION}"), Prompt(), "", (1,), 0, search))


def save(folder: Path, *, process_head: bool) -> None:
    """Random weights and a tokenizer of bytes."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
    pieces = [*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(marks)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=marks[2])
    wrapped.chat_template = CHAT
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, bos_token_id=None, eos_token_id=None, tie_word_embeddings=False, dtype="float32")
    LlamaForCausalLM(config).save_pretrained(folder)
    if not process_head:
        return
    width = SHAPE["hidden_size"]
    head = {
        "score.0.weight": torch.randn(width, width) / 16,
        "score.0.bias": torch.zeros(width),
        "score.2.weight": torch.randn(2, width) / 16,
        "score.2.bias": torch.zeros(2),
    }
    held = load_file(folder / "model.safetensors")
    save_file({**held, **head}, folder / "model.safetensors", metadata={"format": "pt"})
    config_file = folder / "config.json"
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "num_labels": 2}))


if __name__ == "__main__":
    main()
