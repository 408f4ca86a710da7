"""Loading a causal language model of transformers: dtype, device, threads, and errors that say what to do.

model = load_model("path/to/model", dtype="auto", device="auto")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from isoflop.embedded import model_folder
from isoflop.errors import ModelError


def load_model(model: str, *, dtype: str = "auto", device: str = "auto") -> Any:
    """The model in evaluation mode.

    `auto` is CUDA where there is one, and the checkpoint's dtype (bfloat16 for float16 on a CPU).
    """
    place = _device(device)
    config = _read(model, AutoConfig, "config")
    wanted = getattr(config, "dtype", None) if dtype == "auto" else getattr(torch, dtype)
    if wanted is torch.float16 and place.type == "cpu":
        if dtype != "auto":
            raise ModelError("dtype='float16' has no fast kernels on a CPU; use 'bfloat16' or 'float32'")
        wanted = torch.bfloat16
    loaded = _read(model, AutoModelForCausalLM, "model", dtype=wanted or torch.float32)
    return loaded.to(place).eval().requires_grad_(False)


def load_tokenizer(model: str) -> Any:
    """The fast tokenizer that comes with the model."""
    tokenizer = _read(model, AutoTokenizer, "tokenizer")
    if not tokenizer.is_fast:
        raise ModelError(f"model {model!r} has no tokenizer.json; convert its tokenizer to the fast format and save it")
    return tokenizer


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device={device!r} was asked for, but torch sees no CUDA device here; use device='cpu'")
    return torch.device(device)


def _read(model: str, kind: Any, what: str, **options: Any) -> Any:
    """`kind.from_pretrained`, its many ways of failing told as one kind of error."""
    folder = Path(model_folder(model)).expanduser()
    logging.disable_progress_bar()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(f"model folder {model!r} has no config.json: it is not a saved transformers model")
    if not folder.exists() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ModelError(f"model folder {model!r} does not exist")
    try:
        return kind.from_pretrained(str(folder) if folder.exists() else model, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        fix = "" if folder.exists() else "; give a local folder, or a hub id with network access (HF_HUB_OFFLINE unset)"
        raise ModelError(f"the {what} of {model!r} cannot be loaded: {reason}{fix}") from error
