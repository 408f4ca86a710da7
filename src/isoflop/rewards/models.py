"""Reward checkpoints: what a folder holds, and its decoder with a small head of our own on top.

Checkpoints that come with remote code (Skywork's value head, Qwen's process reward model) are read as what they are, a
decoder and a few matrices: no code of a checkpoint is ever run. The head gives only the logits that the format reads:
of a language model two rows of its LM head. It is not a model that generates (`judge.py` loads one for that).

    model = load_scoring_model("path/to/prm", ReadOut("value"), tokenizer, asked_by="skywork")
    model(ids)                          # logits [1, N, C]

Legend: N tokens, D hidden size, C logits read.
"""

from __future__ import annotations

import copy
import json
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.utils import logging

from isoflop.errors import ModelError
from isoflop.rewards.format import ReadOut


class Kind(StrEnum):
    """What a checkpoint is, told by the matrices that it holds besides its decoder."""

    LANGUAGE = "a language model"
    VALUE = "a language model with a value head"
    PROCESS = "a process reward model with a two-layer head"
    TOKEN = "a token classifier"
    SEQUENCE = "a sequence classifier"


FITS = {
    Kind.LANGUAGE: "math_shepherd, rlhflow or judge",
    Kind.VALUE: "skywork",
    Kind.PROCESS: "qwen_prm",
    Kind.TOKEN: "token_prm",
    Kind.SEQUENCE: "outcome",
}
_LM_HEADS = ("lm_head", "embed_out", "output")
_LINEAR_HEADS = ("score", "classifier")


class Weights:
    """The tensors of a model folder by name, safetensors or PyTorch's own format, in one file or several."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {name: folder / file for name, file in _index(folder).items()}

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor, alone read where the format allows it."""
        path = self.files[name]
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                found: torch.Tensor = file.get_tensor(name)
                return found
        loaded: torch.Tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[name]
        return loaded


def _index(folder: Path) -> dict[str, str]:
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (folder / f"{stem}.index.json").is_file():
            listed: dict[str, str] = json.loads((folder / f"{stem}.index.json").read_text())["weight_map"]
            return listed
        if (folder / stem).is_file():
            return dict.fromkeys(_names(folder / stem), stem)
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{str(folder)!r} holds a LoRA adapter, no model: merge it into its base model and save that")
    raise ModelError(f"{str(folder)!r} has no weights: neither model.safetensors nor pytorch_model.bin is in it")


def _names(path: Path) -> list[str]:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    return list(torch.load(path, map_location="cpu", weights_only=True, mmap=True))


def kind_of(weights: Weights, config: Any) -> Kind:
    """Raises ModelError where the head is none that is known."""
    name = (getattr(config, "architectures", None) or ["?"])[0]
    if "v_head.summary.weight" in weights:
        return Kind.VALUE
    if "score.0.weight" in weights and "score.2.weight" in weights:
        return Kind.SEQUENCE if len(weights.tensor("score.2.weight")) == 1 else Kind.PROCESS
    if any(f"{head}.weight" in weights for head in _LINEAR_HEADS):
        if name.endswith("ForTokenClassification"):
            return Kind.TOKEN
        if name.endswith("ForSequenceClassification"):
            return Kind.SEQUENCE
    elif any(f"{head}.weight" in weights for head in _LM_HEADS) or name.endswith(("ForCausalLM", "LMHeadModel")):
        return Kind.LANGUAGE
    raise ModelError(
        f"{str(weights.folder)!r} is of architecture {name}, whose head is not known here; known are "
        + "; ".join(f"{kind} ({spec})" for kind, spec in FITS.items())
    )


class Head(nn.Module):
    """One or two linear layers on the final hidden state; `scale` and `softcap` are those of a language model."""

    def __init__(self, layers: list[nn.Linear], scale: float = 1.0, softcap: float | None = None) -> None:
        super().__init__()
        joined: list[nn.Module] = [module for layer in layers for module in (layer, nn.ReLU())]
        self.layers = nn.Sequential(*joined[:-1])
        self.dtype, self.classes = layers[0].weight.dtype, layers[-1].out_features
        self._scale, self._softcap = scale, softcap
        self.flops_per_read = sum(2 * layer.in_features * layer.out_features for layer in layers)
        self.parameters_read = sum(parameter.numel() for parameter in self.parameters())

    def forward(self, hidden_RD: torch.Tensor) -> torch.Tensor:
        """[R, D] -> [R, C], in the head's own type where it is finer than the decoder's."""
        logits: torch.Tensor = self.layers(hidden_RD.to(self.dtype)) * self._scale
        return logits if self._softcap is None else torch.tanh(logits / self._softcap) * self._softcap


class ScoringModel(nn.Module):
    """A decoder and a head, with what the runtime's runner asks of a model."""

    def __init__(self, decoder: Any, head: Head) -> None:
        super().__init__()
        self.decoder, self.head = decoder, head
        # The head has done what a language model does to its logits; nobody is to do it again.
        self.config = copy.deepcopy(decoder.config)
        for key in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(self.config, key, None) is not None:
                setattr(self.config, key, None)

    @property
    def context_tokens(self) -> int:
        """The longest text that the model takes."""
        return int(self.config.get_text_config().max_position_embeddings)

    @torch.inference_mode()
    def read(self, hidden_RD: torch.Tensor) -> torch.Tensor:
        """The logits at some positions' final hidden states, in float32."""
        logits_RC: torch.Tensor = self.head(hidden_RD)
        return logits_RC.float()

    def get_decoder(self) -> Any:
        """The decoder alone."""
        return self.decoder

    def get_output_embeddings(self) -> Head:
        """The head, where the runner looks for one."""
        return self.head

    def set_attn_implementation(self, name: str) -> None:
        """Pass transformers' switch on to the decoder."""
        self.decoder.set_attn_implementation(name)

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
        """All positions' logits [1, N, C], and keys and values where asked for."""
        output = self.decoder(input_ids=input_ids, use_cache=use_cache)
        return SimpleNamespace(logits=self.head(output.last_hidden_state), past_key_values=output.past_key_values)


def load_scoring_model(
    path: str, readout: ReadOut, tokenizer: Any, *, asked_by: str, dtype: str = "auto", device: str = "auto"
) -> ScoringModel:
    """Raises ModelError where the checkpoint is not of the kind that `asked_by` reads, with the spec that fits."""
    folder = local_folder(path)
    weights, config = Weights(folder), read_config(folder)
    kind = kind_of(weights, config)
    wanted = {"math_shepherd": Kind.LANGUAGE, "rlhflow": Kind.LANGUAGE, "judge": Kind.LANGUAGE}.get(asked_by)
    wanted = wanted or next(each for each, spec in FITS.items() if spec == asked_by)
    if kind is not wanted:
        name = (getattr(config, "architectures", None) or ["no architecture named"])[0]
        raise ModelError(
            f"{path!r} is {kind} ({name}), and {asked_by}() reads {wanted}; the spec that fits it is {FITS[kind]}"
        )
    decoder = load_decoder(folder, config, dtype)
    head = _head(weights, kind, readout, tokenizer, decoder)
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return ScoringModel(decoder, head).to(place).eval().requires_grad_(False)


def _head(weights: Weights, kind: Kind, readout: ReadOut, tokenizer: Any, decoder: Any) -> Head:
    dtype = next(decoder.parameters()).dtype
    if kind is Kind.LANGUAGE:
        return language_head(weights, decoder, word_ids(readout, tokenizer))
    if kind is Kind.VALUE:
        names = ["v_head.summary"]
    elif "score.0.weight" in weights:
        names = ["score.0", "score.2"]
    else:
        names = [next(head for head in _LINEAR_HEADS if f"{head}.weight" in weights)]
    # A value head is kept and computed in float32, as its authors do.
    precision = torch.float32 if kind is Kind.VALUE else dtype
    head = Head([_linear(weights, name).to(precision) for name in names])
    last = head.classes - 1
    if readout.kind == "classes" and last > 0 and not 0 <= readout.positive <= last:
        raise ModelError(
            f"{str(weights.folder)!r} has {head.classes} classes; positive={readout.positive} is none of 0 to {last}"
        )
    return head


def language_head(weights: Weights, decoder: Any, rows: list[int] | None = None) -> Head:
    """The LM head, or some rows of it, with what the model's family does to its logits."""
    name = next((head for head in _LM_HEADS if f"{head}.weight" in weights), None)
    matrix = decoder.get_input_embeddings().weight if name is None else weights.tensor(f"{name}.weight")
    bias = weights.tensor(f"{name}.bias") if name is not None and f"{name}.bias" in weights else None
    if rows is not None:
        matrix, bias = matrix[rows], None if bias is None else bias[rows]
    config, dtype = decoder.config.get_text_config(), next(decoder.parameters()).dtype
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
    layer = _layer(matrix.detach(), bias).to(dtype)
    return Head([layer], scale, getattr(config, "final_logit_softcapping", None))


def _linear(weights: Weights, name: str) -> nn.Linear:
    bias = f"{name}.bias"
    return _layer(weights.tensor(f"{name}.weight"), weights.tensor(bias) if bias in weights else None)


def _layer(matrix: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(matrix, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def word_ids(readout: ReadOut, tokenizer: Any) -> list[int]:
    """The token that stands for each word. Raises ModelError where two words have the same one."""
    place = -1 if readout.which == "last" else 0
    ids = [int(tokenizer(word, add_special_tokens=False)["input_ids"][place]) for word in readout.words]
    if len(set(ids)) < len(ids) or tokenizer.unk_token_id in ids:
        told = ", ".join(f"{word!r} = {identity}" for word, identity in zip(readout.words, ids, strict=True))
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path!r} does not tell the words read apart: {told} "
            f"({readout.which} token of each)"
        )
    return ids


def local_folder(path: str) -> Path:
    """The folder of a checkpoint: a local one, or a model of the hub, from its cache or fetched."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise ModelError(f"reward model folder {path!r} does not exist")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, ignore_patterns=["*.py", "*.gguf", "*.onnx", "*.msgpack", "*.h5"]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"reward model {path!r} is no local folder and cannot be fetched: {reason}") from error


def read_config(folder: Path) -> Any:
    """The checkpoint's config."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the config of {str(folder)!r} cannot be read: {str(error).strip().splitlines()[0]}"
        ) from error


def check_tokenizer(path: str, tokenizer: Any, config: Any) -> None:
    """Raises ModelError where it knows tokens that the model does not."""
    highest = config.get_text_config().vocab_size
    if len(tokenizer) > highest:
        raise ModelError(
            f"the tokenizer of {path!r} knows {len(tokenizer)} tokens and the model {highest}: they do not belong "
            "together"
        )


def load_decoder(folder: Path, config: Any, dtype: str) -> Any:
    """The decoder without any head. Raises ModelError where weights of it are missing."""
    wanted = getattr(config, "dtype", None) if dtype == "auto" else getattr(torch, dtype)
    if wanted is None or (wanted is torch.float16 and not torch.cuda.is_available()):
        wanted = torch.bfloat16 if wanted is torch.float16 else torch.float32
    # transformers' fused attention leaves Gemma 2's soft caps out.
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # it would report the heads that are left out, at length
    try:
        decoder, told = AutoModel.from_pretrained(
            str(folder),
            config=config,
            dtype=wanted,
            attn_implementation="eager" if capped else None,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the weights of {str(folder)!r} cannot be loaded: {reason}") from error
    finally:
        logging.set_verbosity(loud)
    if told["missing_keys"]:
        missing = sorted(told["missing_keys"])
        raise ModelError(
            f"{str(folder)!r} lacks {len(missing)} of its decoder's tensors ({', '.join(missing[:3])}, ..): "
            "it would be scored with random weights"
        )
    return decoder
