"""What the local engine may do between a forward and the drawing of tokens: nothing, or think.

A `Thinker` is asked twice a poll. Before the forward: which rows ride in it behind the newest tokens. After it: which
logits each sequence draws from. It computes in the spare tokens at the end of the sequences' slots, and what it wrote
there is overwritten later. `Plain` thinks nothing; `quietstar/engine_thinker.py` thinks.

    engine = LocalEngine(runner, tokens, shape, max_live=64, thinker=Plain(runner))

Legend: U rows of hidden states, R riders, V vocabulary, H hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import GenerationRequest
from isoflop.engines.local_cost import Meter, Shares
from isoflop.engines.local_rows import Rows
from isoflop.runtime.attention import Block, Ints
from isoflop.runtime.runner import Runner

_NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Turn:
    """One poll, after its forward. Row i draws from `hidden_UH[source[i]]`; rows from `begun` on draw their first
    token. `riders` are the rows that something rode behind, `behind_RH` its hidden states, block by block."""

    rows: Rows
    begun: int
    source: Ints
    hidden_UH: torch.Tensor
    riders: Ints
    behind_RH: torch.Tensor


@dataclass(frozen=True, slots=True)
class Scored:
    """Row i draws from `logits_UV[source[i]]`. `seconds` went into thinking; `work` is the thinker's own note of it."""

    logits_UV: torch.Tensor
    source: Ints
    seconds: float = 0.0
    work: Any = None


class Thinker(ABC):
    """See the module. A slot needs `spare_tokens` behind the longest sequence."""

    spare_tokens: int

    @abstractmethod
    def riders(self, rows: Rows, places: Ints) -> Ints:
        """Those of the rows at `places`, whose newest token goes into the forward, that something rides behind; in the
        order of their slots."""

    @abstractmethod
    def behind(self, rows: Rows, riders: Ints) -> tuple[Block, ...]:
        """What rides behind them."""

    @abstractmethod
    def score(self, turn: Turn) -> Scored:
        """The logits to draw from."""

    @abstractmethod
    def book(self, scored: Scored, unit: Shares, behind_flops: int, meter: Meter) -> None:
        """Note at the rows what thinking took; `unit` and `behind_flops` are what a rider bears of the forward, and
        the attention of all riders."""

    @abstractmethod
    def most(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """What thoughts before each of `tokens` tokens sampled behind `start` known ones take."""

    @abstractmethod
    def refusal(self, request: GenerationRequest) -> str | None:
        """Why a request cannot be thought about."""


@final
class Plain(Thinker):
    """Thinks nothing."""

    spare_tokens = 0

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def riders(self, rows: Rows, places: Ints) -> Ints:
        """None."""
        return _NOBODY

    def behind(self, rows: Rows, riders: Ints) -> tuple[Block, ...]:
        """Nothing."""
        return ()

    def score(self, turn: Turn) -> Scored:
        """The model's own."""
        return Scored(self._runner.logits(turn.hidden_UH), turn.source)

    def book(self, scored: Scored, unit: Shares, behind_flops: int, meter: Meter) -> None:
        """Nothing was thought."""

    def most(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Nothing."""
        return {}

    def refusal(self, request: GenerationRequest) -> str | None:
        """None."""
        return None


def joined(hidden: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows one behind the other; no copy of a single piece."""
    return hidden[0] if len(hidden) == 1 else torch.cat(list(hidden))
