"""Final hidden states of a policy at chosen positions, by plain padded forwards: what a shared-trunk head is fitted on.

`examples.py` says which positions. `states` computes; `cached_states` keeps what it computed in a folder, piece by
piece, so that a killed extraction goes on. It knows no labels and no head.

    [hidden_RD] = states(model, [Passage(tokens, reads)])

Legend: B sequences of a batch, N tokens, R positions read, D hidden size.
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

from isoflop.errors import StoreError
from isoflop.rewards.encode import Passage

BATCH_TOKENS = 8192  # of one forward, padding included; a longer solution goes alone
PIECE = 256  # solutions of one file: what a kill loses at most
_EVERY = 4099  # every so many weights are in a model's fingerprint: enough to tell fine-tuned ones apart
Progress = Callable[[int, int], None]


@torch.inference_mode()
def states(model: Any, passages: Sequence[Passage]) -> list[torch.Tensor]:
    """[R, D] for each passage, in the model's own type, on the CPU."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    device = next(model.parameters()).device
    found: list[torch.Tensor] = [torch.empty(0)] * len(passages)
    for places in batches([len(passage.tokens) for passage in passages]):
        ids_BN, mask_BN = padded([passages[place].tokens for place in places], device)
        output = decoder(input_ids=ids_BN, attention_mask=mask_BN, use_cache=False)
        for row, place in enumerate(places):
            found[place] = output.last_hidden_state[row, list(passages[place].reads)].cpu().clone()
    return found


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Places of sequences that share a forward: of like length, so that little is padding."""
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        # The first one of a batch is its longest.
        if found and lengths[found[-1][0]] * (len(found[-1]) + 1) <= BATCH_TOKENS:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, N], padded on the right, and which of them are real."""
    longest = max(map(len, sequences))
    ids_BN = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask_BN = torch.zeros_like(ids_BN)
    for row, tokens in enumerate(sequences):
        ids_BN[row, : len(tokens)] = torch.tensor(tokens)
        mask_BN[row, : len(tokens)] = 1
    return ids_BN.to(device), mask_BN.to(device)


def cached_states(
    model: Any, passages: Sequence[Passage], folder: Path, progress: Progress | None = None
) -> list[torch.Tensor]:
    """The same, from the folder where it holds them, else computed and kept there."""
    weights = fingerprint(model)
    found: list[torch.Tensor] = []
    for number, start in enumerate(range(0, len(passages), PIECE)):
        piece = passages[start : start + PIECE]
        path = folder / f"states-{number:05d}.safetensors"
        wanted = hashlib.blake2b(f"{weights} {piece}".encode(), digest_size=16).hexdigest()
        held = _read(path, wanted)
        if held is None:
            held = torch.cat(states(model, piece))
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
