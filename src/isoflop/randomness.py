"""Counter-based random numbers: one uniform per (seed, problem, path, position), whoever the neighbours in a batch are.

A stream is a 64-bit key; the number at a position is a hash of key and position (SplitMix64's finaliser, Steele et al.
2014, applied twice). Nothing is drawn "next", so no order of work can change a number. It is not a cryptographic
generator.

A path is the tuple of child indices from the root. Trailing zeros are dropped from its key: the first child goes on
with its parent's stream, at later positions. A whole sample and the same sample grown step by step by first children
therefore use the same numbers, and so do strategies that start alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_MASK = 0xFFFFFFFFFFFFFFFF


def stream_key(seed: int, problem: str, path: Sequence[int]) -> int:
    """The 64-bit key of a path's stream."""
    end = len(path)
    while end and path[end - 1] == 0:
        end -= 1
    text = f"{seed}|{problem}|{','.join(map(str, path[:end]))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(key: int, position: int) -> float:
    """The uniform number in [0, 1) of a stream at a position."""
    mixed = _finalise(_finalise((key + (position + 1) * 0x9E3779B97F4A7C15) & _MASK) ^ key)
    return (mixed >> 11) * 2.0**-53


def uniforms(keys: npt.NDArray[np.uint64], positions: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """`uniform` for arrays: keys [N], positions [N] -> [N] float64 in [0, 1)."""
    with np.errstate(over="ignore"):
        start = keys + (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = _finalise_array(_finalise_array(start) ^ keys)
    result: npt.NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return result


def _finalise(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _finalise_array(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
