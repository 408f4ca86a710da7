"""Checkpoints with thoughts, read and written: the reference's format, and our own folders.

The reference keeps `start_embedding`, `end_embedding` and `talk_head.*` among the model's own weights; a plain class of
transformers drops them without a word. Ours keeps them beside the base model, which then loads anywhere as what it is:

    config.json, model.safetensors          the base model, as transformers saves it
    thoughts.safetensors, thoughts.json     the reference's names, and `gate_head.*` where a gate was trained; n_ahead
                                            and the thought ids

Code in a checkpoint is never executed, pickles are read as weights only.

    base, parameters, config = load_checkpoint("quietstar-8-ahead", 8, "learned", None, "auto", "auto")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers.utils import logging

from isoflop.embedded import model_folder
from isoflop.errors import ModelError
from isoflop.quietstar.config import ThoughtConfig, ThoughtVectors
from isoflop.quietstar.head import GateHead, ThoughtParameters
from isoflop.runtime.loading import load_model, load_tokenizer

WEIGHTS, SETTINGS = "thoughts.safetensors", "thoughts.json"
GATE = "gate_head."
PREFIXES = ("start_embedding", "end_embedding", "talk_head.", GATE)
# What the reference's config may say of its head, and the only values that the released one is built with.
FLAGS = {
    "use_concat_talk_head": True,
    "use_complex_talk_head": True,
    "use_weighted_talk_head": True,
    "use_shallow_talk": False,
    "merged_lm_and_talk_heads": False,
}
DASH = "---"


def load_checkpoint(
    model: str, n_ahead: int | None, vectors: ThoughtVectors, dash_token_id: int | None, dtype: str, device: str
) -> tuple[Any, ThoughtParameters, ThoughtConfig]:
    """The base model, the thought's parameters and how it thinks. `model` is a folder or a hub id."""
    ThoughtConfig(8 if n_ahead is None else n_ahead, (), vectors)  # a wrong value is told before gigabytes are read
    folder = _folder(model)
    tensors = _thought_tensors(folder)
    config = _config(folder, n_ahead, vectors)
    with _quiet():
        base = load_model(str(folder), dtype=dtype, device=device)
    table = base.get_input_embeddings().weight
    parameters = _parameters(folder, tensors, int(base.config.get_text_config().hidden_size))
    parameters = parameters.to(table.device, table.dtype).requires_grad_(False)
    if vectors == "dash":
        parameters.use_vector(table[_dash(folder, dash_token_id, len(table))])
    return base, parameters, config


def load_gate_head(model: str, hidden_size: int) -> GateHead:
    """The gate head of a checkpoint with thoughts. Raises ModelError where it has none."""
    tensors = _thought_tensors(_folder(model), (GATE,))
    shapes = {name.removeprefix(GATE): list(value.shape) for name, value in tensors.items()}
    if shapes != {"weight": [1, hidden_size], "bias": [1]}:
        raise ModelError(
            f"{model!r} has no gate head to ask whether a thought is worth it: found {shapes or 'nothing'}, wanted "
            f"gate_head.weight [1, {hidden_size}] and gate_head.bias [1]; train one (isoflop quietstar train), or let "
            "the entropy decide: think='gate(t)'"
        )
    return GateHead(tensors[GATE + "weight"], tensors[GATE + "bias"]).requires_grad_(False)


def has_thoughts(model: str) -> bool:
    """Whether a folder or a hub id holds tensors of a thought, in our format or in the reference's."""
    return bool(_thought_tensors(_folder(model)))


def save_checkpoint(base: Any, parameters: ThoughtParameters, config: ThoughtConfig, folder: Path) -> None:
    """Write what `load_checkpoint` reads. Vectors are saved as they are now: those of `---`, if loaded with them."""
    folder.mkdir(parents=True, exist_ok=True)
    base.save_pretrained(folder)
    save_thoughts(parameters.state_dict(), config, folder)


def save_thoughts(state: Mapping[str, torch.Tensor], config: ThoughtConfig, folder: Path) -> None:
    """Write what stands beside a base model: the state of its `ThoughtParameters`, and the settings."""
    save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, folder / WEIGHTS)
    settings = {"n_ahead": config.n_ahead, "thought_ids": list(config.thought_ids)}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _folder(model: str) -> Path:
    path = Path(model_folder(model)).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{model!r} is a file; give the folder that holds config.json and the weights")
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"model folder {model!r} does not exist")
    from huggingface_hub import snapshot_download  # only where a hub id is given

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "*.model"]))
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{model!r} is no folder here, and the hub does not give it: {reason}; download it, and give its folder"
        ) from error


def _config(folder: Path, n_ahead: int | None, vectors: ThoughtVectors) -> ThoughtConfig:
    if (folder / SETTINGS).is_file():
        settings = _json(folder / SETTINGS)
        try:
            saved, ids = settings["n_ahead"], tuple(int(i) for i in settings["thought_ids"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder / SETTINGS} is damaged: it must hold n_ahead and a list thought_ids") from error
        return ThoughtConfig(saved if n_ahead is None else n_ahead, ids, vectors)
    values = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    wrong = {name: values[name] for name, needed in FLAGS.items() if name in values and values[name] != needed}
    if wrong:
        needed = ", ".join(f"{name}={FLAGS[name]}" for name in wrong)
        raise ModelError(
            f"{folder}: the talk head is of another kind ({wrong}); supported is the released one: {needed}"
        )
    size = values.get("vocab_size")
    if not isinstance(size, int) or size < 3:
        raise ModelError(f"{folder / 'config.json'} is missing or has no vocab_size; it must be a causal LM's config")
    return ThoughtConfig(8 if n_ahead is None else n_ahead, (size - 2, size - 1), vectors)


def _parameters(folder: Path, tensors: dict[str, torch.Tensor], hidden_size: int) -> ThoughtParameters:
    parameters = ThoughtParameters(hidden_size)
    if any(name.startswith(GATE) for name in tensors):
        parameters.add_gate()
    expected = {name: list(value.shape) for name, value in parameters.state_dict().items()}
    found = {name: list(value.shape) for name, value in tensors.items()}
    if not found:
        raise ModelError(
            f"{folder} is a plain language model: it has no start_embedding, end_embedding or talk_head, so there is "
            "no thought to think. Load it as an ordinary model, or put untrained thoughts on it (ThoughtModel.put_on)"
        )
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or extra:
        raise ModelError(
            f"{folder} has no complete talk head of the released kind: missing {missing or 'nothing'}, "
            f"unknown {extra or 'nothing'}; needed are {', '.join(expected)}"
        )
    wrong = [f"{name} is {found[name]}, must be {shape}" for name, shape in expected.items() if found[name] != shape]
    if wrong:
        raise ModelError(f"{folder}: shapes do not fit the model's hidden size {hidden_size}: {'; '.join(wrong)}")
    parameters.load_state_dict({name: value.float() for name, value in tensors.items()})
    return parameters


def _dash(folder: Path, dash_token_id: int | None, vocab_size: int) -> int:
    if dash_token_id is None:
        if not (folder / "tokenizer.json").is_file():
            raise ModelError(
                f"thought_vectors='dash' takes the embedding of {DASH!r}, and {folder} has no tokenizer.json to look "
                "it up in; give dash_token_id=.."
            )
        dash_token_id = int(load_tokenizer(str(folder)).encode(DASH, add_special_tokens=False)[0])
    if not 0 <= dash_token_id < vocab_size:
        raise ModelError(f"dash_token_id={dash_token_id} is outside the vocabulary; allowed: 0 to {vocab_size - 1}")
    return dash_token_id


def _thought_tensors(folder: Path, prefixes: tuple[str, ...] = PREFIXES) -> dict[str, torch.Tensor]:
    """Every tensor whose name begins as one of a thought, from whichever files hold them."""
    if (folder / WEIGHTS).is_file():
        return _read(folder / WEIGHTS, prefixes)
    indices = sorted(folder.glob("*.index.json"), key=lambda path: "safetensors" not in path.name)
    if indices:
        weight_map = _json(indices[0]).get("weight_map", {})
        names = sorted({file for name, file in weight_map.items() if name.startswith(prefixes)})
        return {name: value for file in names for name, value in _read(folder / file, prefixes).items()}
    for file in ("model.safetensors", "pytorch_model.bin"):
        if (folder / file).is_file():
            return _read(folder / file, prefixes)
    return {}


def _read(path: Path, prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefixes)}  # noqa: SIM118
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return {name: value for name, value in weights.items() if name.startswith(prefixes)}
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds a JSON {type(values).__name__}; it must be an object")
    return values


@contextmanager
def _quiet() -> Iterator[None]:
    """The talk head is no part of the class that transformers loads; its report on that would frighten."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
