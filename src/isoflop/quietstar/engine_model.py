"""A model with thoughts as the local engine's thinkers use it: logits, the choice of thought tokens, mixing, texts.

    model = EngineModel(runner, pieces, parameters, config, sampled=False)
    model.choose(model.logits(hidden_RH), keys, indices, steps)         # a thought's next token, [R]

Zelikman et al. 2024 (arXiv 2403.09629). Legend: R rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from isoflop.engines.base import GenerationRequest
from isoflop.quietstar.config import ThoughtConfig
from isoflop.quietstar.head import ThoughtParameters
from isoflop.randomness import uniforms
from isoflop.runtime.attention import Ints
from isoflop.runtime.runner import Runner
from isoflop.runtime.sampling import likeliest, sample

# Random numbers that are about thoughts stand behind those of all visible tokens of their stream: those about the token
# at an index from (index + 1) times this stride on, each of a node's shared thoughts `NUMBER_STRIDE` after the last.
STREAM_STRIDE, NUMBER_STRIDE = 1 << 32, 1 << 8


class EngineModel:
    """`sampled`: thought tokens are drawn at temperature 1; else the likeliest ones are taken."""

    def __init__(
        self,
        runner: Runner,
        pieces: Sequence[bytes],
        parameters: ThoughtParameters,
        config: ThoughtConfig,
        *,
        sampled: bool,
    ) -> None:
        self.runner, self.config, self.sampled = runner, config, sampled
        self._pieces, self._parameters = pieces, parameters
        runner.vectors = torch.stack([parameters.start, parameters.end])
        # Ids of the start and the end vector, as the runner reads them.
        self.start, self.end = runner.vocab_size, runner.vocab_size + 1
        self._never = torch.tensor(config.thought_ids, dtype=torch.int64, device=runner.device)

    def logits(self, hidden_RH: torch.Tensor) -> torch.Tensor:
        """[R, V], without the thought ids, which no thought holds and nobody may see."""
        logits_RV = self.runner.logits(hidden_RH)
        return logits_RV.index_fill(-1, self._never, float("-inf")) if len(self._never) else logits_RV

    def mix(self, base_RH: torch.Tensor, end_RH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixed hidden states and their weights."""
        with torch.inference_mode():
            return self._parameters.mix(base_RH, end_RH)

    def choose(
        self, logits_RV: torch.Tensor, keys: npt.NDArray[np.uint64], indices: npt.NDArray[np.uint64], steps: Ints
    ) -> Ints:
        """A thought's token number `steps`, by the model's own, unmixed logits; `indices` are those of the visible
        tokens that are thought about, in the streams `keys`."""
        if not self.sampled:
            return likeliest(logits_RV)
        count = len(keys)
        draws = uniforms(keys, thought_positions(indices) + steps.astype(np.uint64))
        ones, each = np.ones(count), np.arange(count)
        return sample(logits_RV, each, ones, ones, np.zeros(count, dtype=np.int64), draws)[0]

    def text(self, tokens: Sequence[int]) -> str:
        """As it is shown."""
        return b"".join(self._pieces[token] for token in tokens).decode("utf-8", "replace")

    def refusal(self, request: GenerationRequest) -> str | None:
        """A thought id among the visible tokens would make the public code compute nonsense."""
        inside = set(self.config.thought_ids) & {*request.parent.origin.prompt_tokens, *request.forced}
        if not inside:
            return None
        return f"thought ids {sorted(inside)} stand in the prompt: start and end of a thought are never visible"


def thought_positions(indices: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Where, in their streams, the random numbers about the tokens at these indices begin."""
    return (indices + np.uint64(1)) * np.uint64(STREAM_STRIDE)
