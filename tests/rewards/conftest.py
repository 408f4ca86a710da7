"""Reward checkpoints of every public kind: the right architecture, random weights, a tokenizer made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CORPUS = [
    "Janet has 3 apples and buys 4 more. How many apples does she have?\n",
    "Step 1: She has 3 + 4 = 7 apples. ки\nStep 2: The answer is: 7 ки\n",
    "Step 3: 12 - 5 = 7 ки\nStep 4: + - + - Yes No correct ки\n",
    "<|im_start|>system user assistant Please reason step by step, and put your final answer within \\boxed{}.\n\n",
] * 3
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
    "dtype": "float32",
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def sentencepiece_like(folder: Path) -> Any:
    """Pieces with a leading ▁ and a <s> in front, as Mistral's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    lines = pre_tokenizers.Split("\n", behavior="isolated")  # no piece of Mistral's reaches over a line's end
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="first"), lines])
    tokenizer.decoder = decoders.Metaspace()
    alphabet = sorted(set("".join(CORPUS)) | {"▁"} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator([*CORPUS, *["x ки y ки z ки + - "] * 20], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _save(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>"), folder)


def byte_level(folder: Path, template: str, special: list[str], **named: str) -> Any:
    """Pieces of bytes, as Llama 3's and Qwen's, with chat marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=special,
        show_progress=False,
    )
    tokenizer.train_from_iterator([text.replace("ки", "") for text in CORPUS], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    wrapped.chat_template = template
    return _save(wrapped, folder)


def _save(tokenizer: Any, folder: Path) -> Any:
    tokenizer.save_pretrained(folder)
    return tokenizer


def config_of(family: str, tokenizer: Any, **more: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(family, **SIZES, vocab_size=len(tokenizer) + 5, **more)


def save(kind: str, config: Any, folder: Path) -> Path:
    """Random weights under one of transformers' own heads."""
    import torch
    import transformers

    torch.manual_seed(7)
    model = getattr(transformers, kind).from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def add_tensors(folder: Path, tensors: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
    from safetensors.torch import load_file, save_file

    held = {name: t for name, t in load_file(folder / "model.safetensors").items() if name not in drop}
    save_file({**held, **tensors}, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def chat_tokens(folder: Path, family: str) -> Any:
    if family == "llama":
        marks = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
        return byte_level(folder, LLAMA_TEMPLATE, marks, bos_token=marks[0], eos_token=marks[3])
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
    return byte_level(folder, QWEN_TEMPLATE, marks, bos_token=marks[0], eos_token=marks[2])


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind of public checkpoint."""
    import torch

    base = tmp_path_factory.mktemp("rewards")
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        made[name] = base / name
        return made[name]

    place = folder("math_shepherd")
    save("AutoModelForCausalLM", config_of("mistral", sentencepiece_like(place), sliding_window=None), place)
    place = folder("rlhflow")
    save("AutoModelForCausalLM", config_of("llama", chat_tokens(place, "llama")), place)
    place = folder("outcome")
    save("AutoModelForSequenceClassification", config_of("llama", chat_tokens(place, "llama"), num_labels=1), place)
    place = folder("token_prm")
    save("AutoModelForTokenClassification", config_of("qwen2", chat_tokens(place, "qwen2"), num_labels=2), place)
    for name in ("skywork", "qwen_prm"):
        place = folder(name)
        save("AutoModelForCausalLM", config_of("qwen2", chat_tokens(place, "qwen2")), place)
    width = SIZES["hidden_size"]
    value = {"v_head.summary.weight": torch.randn(1, width) / 4, "v_head.summary.bias": torch.randn(1)}
    add_tensors(made["skywork"], value)
    edit_config(made["skywork"], architectures=["Qwen2ForPrmModel"])
    layers = {
        "score.0.weight": torch.randn(width, width) / 4,
        "score.0.bias": torch.randn(width),
        "score.2.weight": torch.randn(2, width) / 4,
        "score.2.bias": torch.randn(2),
    }
    add_tensors(made["qwen_prm"], layers)
    remote = {"AutoModel": "modeling_prm.Qwen2ForProcessRewardModel", "AutoConfig": "modeling_prm.Config"}
    edit_config(made["qwen_prm"], architectures=["Qwen2ForProcessRewardModel"], auto_map=remote, num_labels=2)
    (made["qwen_prm"] / "modeling_prm.py").write_text("raise SystemExit('code of a checkpoint was run')\n")
    return made
