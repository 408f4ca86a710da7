"""The model that is trained: transformers' token classifier on a checkpoint's decoder, whole or by LoRA (peft).

    model = open_classifier("path/to/model", training, seed=0)           # float32, on the CPU
    save_classifier(folder, "path/to/model", training, 0, weights, tokenizer)

Two classes, wrong and right; the head is new, drawn by the seed, unless the checkpoint has one. It is saved as an
ordinary folder that `token_prm(folder)` loads: LoRA merged into the weights, step mark and opening in config.json.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from isoflop.errors import MissingExtraError, ModelError
from isoflop.reward_training.train_options import ModelTraining
from isoflop.rewards.models import FITS, Kind, Weights, kind_of, local_folder, read_config
from isoflop.rewards.recorded import KEY

CLASSES = {0: "wrong", 1: "right"}
RIGHT = 1
HEADS = ("score", "classifier")  # the names that transformers gives a token classifier's head


def open_classifier(path: str, training: ModelTraining, seed: int) -> Any:
    """Ready to train, in evaluation mode: dropout would make the loss depend on how a batch is spread over workers."""
    model = _token_classifier(path, seed)
    if training.method == "full":
        return model.requires_grad_(True)
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("LoRA needs the package `peft`: pip install 'isoflop[train]'") from None
    head, rank = _head_name(model), training.options.lora_rank
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        exclude_modules=[head],
        modules_to_save=[head],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # of transformers
        return get_peft_model(model, lora).eval()


def save_classifier(
    folder: Path, path: str, training: ModelTraining, seed: int, weights: Mapping[str, torch.Tensor], tokenizer: Any
) -> None:
    """The trained `weights` on a fresh copy of where they started from."""
    model = open_classifier(path, training, seed)
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    if unknown:
        raise ModelError(f"trained weights {', '.join(unknown[:3])} belong to no part of {path!r}")
    if training.method == "lora":
        model = model.merge_and_unload()
    record = {"opening": training.opening, "separator": training.separator, "positive": RIGHT}
    setattr(model.config, KEY, record)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _token_classifier(path: str, seed: int) -> Any:
    """Raises ModelError where the checkpoint is neither a language model nor a token classifier of two classes."""
    from transformers import AutoModelForTokenClassification
    from transformers.utils import logging

    folder = local_folder(path)
    config = read_config(folder)
    kind = kind_of(Weights(folder), config)
    if kind not in (Kind.LANGUAGE, Kind.TOKEN):
        raise ModelError(
            f"{path!r} is {kind}, read by {FITS[kind]}(); training starts from {Kind.LANGUAGE} or {Kind.TOKEN}"
        )
    config.num_labels = len(CLASSES)
    config.id2label, config.label2id = dict(CLASSES), {name: place for place, name in CLASSES.items()}
    torch.manual_seed(seed)
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # it would report the head that is new and the one that is left out
    try:
        model, told = AutoModelForTokenClassification.from_pretrained(
            str(folder), config=config, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path!r} cannot be opened as {Kind.TOKEN}: {str(error).splitlines()[0]}") from error
    finally:
        logging.set_verbosity(loud)
    missing = sorted(name for name in told["missing_keys"] if not name.startswith(HEADS))
    if missing:
        raise ModelError(f"{path!r} lacks {len(missing)} of its decoder's tensors ({', '.join(missing[:3])}, ..)")
    return model.eval()


def _head_name(model: Any) -> str:
    return next(name for name in HEADS if hasattr(model, name))
