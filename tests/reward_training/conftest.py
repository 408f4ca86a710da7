"""A tiny policy with a tokenizer made here, and labelled solutions whose right steps can be told by their words."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from isoflop.core import Outcome
from isoflop.reward_training.labels import LabelledSolution, LabelledStep

RIGHT, WRONG = ("so it is", "then we add"), ("but no", "maybe guess")


def save_tokenizer(folder: Path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<end>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([*RIGHT, *WRONG, "How much is 3 + 4? The answer is 7"] * 3, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    wrapped.save_pretrained(folder)
    return wrapped


def save_policy(folder: Path, seed: int = 0) -> Path:
    """Random weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = save_tokenizer(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 4,  # transformers gives Qwen's tokenizer tokens of its own as it loads it
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def policy(tmp_path_factory) -> Path:
    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="session")
def solve(policy):
    """`solve(problems)`: solutions whose steps are right or wrong by their words; the last one gives the answer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy)

    def ids(text):
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    def made(problem, number, chance):
        steps, good = [], True
        for _ in range(3):
            good = good and chance.random() < 0.8
            text = f"{chance.randrange(10)} {chance.choice(RIGHT if good else WRONG)}\n"
            logprobs = tuple(chance.uniform(-3, 0) for _ in ids(text))
            steps.append(LabelledStep(text, float(good), 1, ids(text), logprobs))
        text = f"The answer is {7 if good else chance.randrange(6)}"
        tokens = (*ids(text), tokenizer.eos_token_id)
        steps.append(LabelledStep(text, float(good), 0, tokens, tuple(chance.uniform(-3, 0) for _ in tokens)))
        question = f"How much is {problem} + {number}?"
        outcome = Outcome.CORRECT if good else Outcome.WRONG
        return LabelledSolution(f"p{problem}", question, "7", question + "\n", tuple(steps), outcome, "hard", "arm", 0)

    def solved(problems=20, samples=6, seed=0):
        chance = random.Random(seed)
        return [made(problem, number, chance) for problem in range(problems) for number in range(samples)]

    return solved


@pytest.fixture
def labels(tmp_path, solve) -> Path:
    from isoflop.reward_training.labels import write_labels

    write_labels(tmp_path / "labels.jsonl", solve())
    return tmp_path / "labels.jsonl"
