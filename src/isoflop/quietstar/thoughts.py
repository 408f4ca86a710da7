"""How the tokens of a thought are chosen: the best, drawn, drawn with given noise, or given.

A drawn token is argmax(logits + Gumbel noise), which is a draw from the softmax at temperature 1; the reference's
"temperature" 0.001 divides both and changes nothing. Noise from a seed depends on the seed and the position alone, so
neither the batch nor the path to a prefix can change it.

    choose = chooser("greedy", sampled_tokens=5, vocab_size=202)
    choose(0, logits_BAV, positions_BA)          # [B, A] ids of the first sampled token

Jang et al. 2017 (arXiv 1611.01144) for the noise. Legend: B sequences, A anchors, V vocabulary.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isoflop.errors import ModelError

# "greedy", a seed, noise [n_ahead - 3, (B, A,) V], ids [n_ahead - 3] or [B, A, n_ahead - 3], or a torch generator
Thoughts = str | int | npt.NDArray[Any] | torch.Tensor | Sequence[int] | torch.Generator
# (number of the sampled token, masked logits [B, A, V], positions [B, A]) -> ids [B, A]
Choose = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]


def chooser(thoughts: Thoughts, *, sampled_tokens: int, vocab_size: int) -> Choose:
    """The rule that `thoughts` names, or an error that says what it may be."""
    if isinstance(thoughts, str):
        if thoughts != "greedy":
            raise ModelError(f"thoughts={thoughts!r} is unknown; {_allowed(sampled_tokens, vocab_size)}")
        return lambda step, logits, positions: logits.argmax(-1)
    if isinstance(thoughts, torch.Generator):
        return lambda step, logits, positions: _drawn(logits, thoughts)
    if isinstance(thoughts, (int, np.integer)) and not isinstance(thoughts, bool):
        return _seeded(operator.index(thoughts), sampled_tokens)
    values = torch.as_tensor(thoughts) if not isinstance(thoughts, torch.Tensor) else thoughts
    if values.is_floating_point():
        return _noise(values, sampled_tokens, vocab_size)
    return _given(values, sampled_tokens, vocab_size)


def _drawn(logits_BAV: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    shares = logits_BAV.float().softmax(-1)
    ids: torch.Tensor = torch.multinomial(shares.flatten(0, -2), 1, generator=generator)
    return ids.view(logits_BAV.shape[:-1])


def _seeded(seed: int, sampled_tokens: int) -> Choose:
    if seed < 0:
        raise ModelError(f"thoughts={seed} is no seed; a seed is a whole number of at least 0")

    def choose(step: int, logits_BAV: torch.Tensor, positions_BA: torch.Tensor) -> torch.Tensor:
        rows = [
            np.random.default_rng([seed, position, step]).gumbel(size=logits_BAV.shape[-1])
            for position in positions_BA.flatten().tolist()
        ]
        noise = torch.from_numpy(np.stack(rows)).view(*positions_BA.shape, -1).to(logits_BAV.device)
        return (logits_BAV.double() + noise).argmax(-1)

    return choose


def _noise(noise: torch.Tensor, sampled_tokens: int, vocab_size: int) -> Choose:
    fits = noise.ndim >= 2 and noise.shape[0] == sampled_tokens and noise.shape[-1] == vocab_size
    if not fits and not (sampled_tokens == 0 and noise.numel() == 0):
        raise ModelError(
            f"thought noise of shape {list(noise.shape)} does not fit; {_allowed(sampled_tokens, vocab_size)}"
        )
    if noise.isnan().any():
        raise ModelError("thought noise holds NaN; draw it anew (Gumbel noise is -log(-log(u)) for u in (0, 1))")
    return lambda step, logits, positions: (logits.float() + noise[step].to(logits.device).float()).argmax(-1)


def _given(ids: torch.Tensor, sampled_tokens: int, vocab_size: int) -> Choose:
    if ids.ndim == 0 or ids.shape[-1] != sampled_tokens:
        raise ModelError(f"thoughts of shape {list(ids.shape)} do not fit; {_allowed(sampled_tokens, vocab_size)}")
    if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < vocab_size):
        raise ModelError(f"thoughts hold ids outside the vocabulary; allowed: 0 to {vocab_size - 1}")
    return lambda step, logits, positions: ids[..., step].to(logits.device).expand(positions.shape)


def _allowed(sampled_tokens: int, vocab_size: int) -> str:
    return (
        f"allowed: 'greedy', a seed (int), Gumbel noise [{sampled_tokens}, {vocab_size}] (n_ahead - 3 rows, the whole "
        f"vocabulary), {sampled_tokens} token ids, or a torch.Generator"
    )
