"""Final hidden states of a policy at chosen positions: what a shared-trunk head is fitted on.

`examples.py` says which positions. `StateReader` computes, and no token twice: solutions of one problem share their
prompt, and whatever steps they begin with, on the slots of the cached scorer. `cached_states` keeps what was computed
in a folder, piece by piece, so that a killed extraction goes on. It knows no labels and no head.

    [hidden_RD] = StateReader(model, context_tokens=512).read([Passage(tokens, reads)])

Legend: R positions read, D hidden size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from isoflop.errors import StoreError
from isoflop.rewards.encode import Passage
from isoflop.rewards.models import Head, ScoringModel
from isoflop.rewards.score_cached import cached_scorer

PIECE = 256  # solutions read together, and of one file: what a kill loses at most
_MEMORY_GB = 2.0  # of keys and values
_EVERY = 4099  # every so many weights are in a model's fingerprint: enough to tell fine-tuned ones apart
Progress = Callable[[int, int], None]


class StateReader:
    """Takes the model over: its attention is the runtime's from here on. Raises ModelError where it cannot be."""

    def __init__(self, model: Any, *, context_tokens: int) -> None:
        decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
        parameter = next(decoder.parameters())
        size = int(decoder.config.get_text_config().hidden_size)
        same = nn.Linear(size, size, bias=False, device=parameter.device, dtype=parameter.dtype)
        with torch.no_grad():
            same.weight.copy_(torch.eye(size))  # products with 1 and 0 are exact: the states come through as they are
        scored = ScoringModel(decoder, Head([same])).requires_grad_(False)
        self._dtype = parameter.dtype
        self._scorer = cached_scorer(scored, context_tokens=context_tokens, memory_gb=_MEMORY_GB)

    def read(self, passages: Sequence[Passage]) -> list[torch.Tensor]:
        """[R, D] for each passage, in the model's own type, on the CPU."""
        found = []
        for start in range(0, len(passages), PIECE):
            piece = passages[start : start + PIECE]
            readings = self._scorer.read(piece, [""] * len(piece))
            found += [torch.tensor(reading.logits, dtype=self._dtype) for reading in readings]
            self._scorer.release("")
        return found


def context_of(passages: Sequence[Passage]) -> int:
    """Tokens of the longest."""
    return max(len(passage.tokens) for passage in passages)


def cached_states(
    model: Any, passages: Sequence[Passage], folder: Path, progress: Progress | None = None
) -> list[torch.Tensor]:
    """The same, from the folder where it holds them, else computed and kept there."""
    weights = fingerprint(model)
    reader: StateReader | None = None
    found: list[torch.Tensor] = []
    for number, start in enumerate(range(0, len(passages), PIECE)):
        piece = passages[start : start + PIECE]
        path = folder / f"states-{number:05d}.safetensors"
        wanted = hashlib.blake2b(f"{weights} {piece}".encode(), digest_size=16).hexdigest()
        held = _read(path, wanted)
        if held is None:
            reader = reader or StateReader(model, context_tokens=context_of(passages))
            held = torch.cat(reader.read(piece))
            _write(path, held, wanted)
        found += torch.split(held, [len(passage.reads) for passage in piece])
        if progress is not None:
            progress(min(start + PIECE, len(passages)), len(passages))
    return found


def fingerprint(model: Any) -> str:
    """Of a model's weights and their type."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(parameter.detach().flatten()[::_EVERY].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, wanted: str) -> torch.Tensor | None:
    """What the file holds, None where it is not there or holds something else."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") != wanted:
                return None
            held: torch.Tensor = file.get_tensor("states")
            return held
    except SafetensorError as error:
        raise StoreError(f"{path} is damaged ({error}); remove it, and it is computed again") from error


def _write(path: Path, states_RD: torch.Tensor, of: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_file({"states": states_RD.contiguous()}, unfinished, metadata={"fingerprint": of})
    os.replace(unfinished, path)
