"""How a model thinks: how far ahead, with which start and end vectors, and which ids no prompt may hold.

A thought of `n_ahead` feeds n_ahead - 1 inputs after a visible token: the start vector, n_ahead - 3 sampled tokens, the
end vector (n_ahead = 2: the start vector alone). It is not in a checkpoint of the reference: the script sets it.

    ThoughtConfig(n_ahead=8, thought_ids=(32000, 32001)).sampled_tokens     # 5

Zelikman et al. 2024 (arXiv 2403.09629).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from isoflop.errors import ModelError, did_you_mean

ThoughtVectors = Literal["learned", "dash"]
# The vector fed to the network is this times the stored row: the reference's way to a larger step size for it.
EMBEDDING_SCALE = 100.0


@dataclass(frozen=True, slots=True)
class ThoughtConfig:
    """`thought_ids` are the ids set aside for start and end (none, where a model has no rows for them): they are never
    sampled inside a thought. `thought_vectors="dash"` replaces both learned vectors by the embedding of `---`, as the
    public evaluation does."""

    n_ahead: int = 8
    thought_ids: tuple[int, ...] = ()
    thought_vectors: ThoughtVectors = "learned"

    def __post_init__(self) -> None:
        if isinstance(self.n_ahead, bool) or not isinstance(self.n_ahead, int) or self.n_ahead < 2:
            raise ModelError(
                f"n_ahead={self.n_ahead!r} leaves no thought; it must be a whole number of at least 2 (start vector "
                "alone; 3: start and end; 4 or more: sampled tokens between them). For the plain model use the "
                "checkpoint without thoughts"
            )
        if self.thought_vectors not in get_args(ThoughtVectors):
            tail = did_you_mean(str(self.thought_vectors), get_args(ThoughtVectors))
            raise ModelError(f"thought_vectors={self.thought_vectors!r} is unknown{tail}")

    @property
    def inputs(self) -> int:
        """Inputs of one thought, start and end included."""
        return self.n_ahead - 1

    @property
    def sampled_tokens(self) -> int:
        """Tokens of one thought that are chosen, not given."""
        return max(0, self.n_ahead - 3)
