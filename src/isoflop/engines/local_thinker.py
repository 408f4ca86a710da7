"""What the local engine may do around a forward: nothing but draw tokens, or think.

A `Thinker` is asked twice a poll. Before the forward: which rows go in. After it: which sequences got a token, and
which. Rows of thoughts live behind the newest tokens, where what is written is overwritten later, or in the slots'
fronts. `Plain` thinks nothing; `quietstar/engine_thinker.py` and `quietstar/engine_ahead.py`
think.

    engine = LocalEngine(runner, tokens, shape, max_live=64, thinker=Plain(runner))

Legend: U rows of hidden states, R rows behind the newest tokens, H hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt
import torch

from isoflop.cost.ledger import Cost, Role
from isoflop.engines.base import GenerationRequest
from isoflop.engines.local_cost import Meter, Shares
from isoflop.engines.local_rows import Rows
from isoflop.randomness import uniforms
from isoflop.runtime.attention import Block, Ints
from isoflop.runtime.runner import Runner
from isoflop.runtime.sampling import sample
from isoflop.thought import Thought

NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """The single rows of a forward. The rows at `places`, in the order of their slots, feed the tokens `newest`;
    `riders` are the rows that something rides `behind`."""

    places: Ints
    newest: Block
    riders: Ints = field(default_factory=NOBODY.copy)
    behind: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One poll, after its forward. `hidden_UH[source[i]]` is the state of row i's newest token (no source, -1: it was
    not fed); rows from `begun` on are new, and those at `fed` were fed. `behind_RH` is what rode, block by block."""

    rows: Rows
    begun: int
    fed: Ints
    source: Ints
    hidden_UH: torch.Tensor
    plan: Plan
    behind_RH: torch.Tensor


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rows at `places` got `tokens`; `broken`: from logits that are no numbers. `hidden_UH[source[k]]` is the plain
    state that the k-th was drawn after. `seconds` went into forwards of the thinker's own; `work` is its note of them.
    """

    places: Ints
    tokens: Ints
    logprobs: npt.NDArray[np.float64]
    broken: npt.NDArray[np.bool_]
    hidden_UH: torch.Tensor
    source: Ints
    seconds: float = 0.0
    work: Any = None


class ThoughtCosts(Protocol):
    """What thoughts take, by formula."""

    def most(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Thoughts before each of `tokens` tokens sampled behind `start` known ones, at most."""

    def took(self, place: int, thought: Thought) -> Mapping[Role, Cost]:
        """One thought, behind `place` tokens."""


class Thinker(ABC):
    """See the module. A slot needs `spare_tokens` behind the longest sequence and `front_tokens` before it. `costs`: of
    thoughts, where there are any."""

    spare_tokens: int
    front_tokens: int = 0
    costs: ThoughtCosts | None = None

    @abstractmethod
    def plan(self, rows: Rows, decoding: int, fed: Ints) -> Plan:
        """What goes into the forward of the first `decoding` rows and of those at the places `fed`."""

    @abstractmethod
    def draw(self, turn: Turn) -> Drawn:
        """The next tokens."""

    @abstractmethod
    def book(self, turn: Turn, drawn: Drawn, unit: Shares, behind_flops: int, meter: Meter) -> None:
        """Note at the rows what thinking took; `unit` and `behind_flops` are what a row bears of the forward, and the
        attention of all that rode."""

    def leave(self, rows: Rows, place: int) -> None:
        """A row goes: what is not yet noted at it, is now."""

    @abstractmethod
    def refusal(self, request: GenerationRequest) -> str | None:
        """Why a request cannot be thought about."""


@final
class Plain(Thinker):
    """Thinks nothing."""

    spare_tokens = 0

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def plan(self, rows: Rows, decoding: int, fed: Ints) -> Plan:
        """The newest tokens."""
        return newest(rows, decoding)

    def draw(self, turn: Turn) -> Drawn:
        """From the model's own logits."""
        return draw_all(turn, self._runner.logits(turn.hidden_UH), turn.source)

    def book(self, turn: Turn, drawn: Drawn, unit: Shares, behind_flops: int, meter: Meter) -> None:
        """Nothing was thought."""

    def refusal(self, request: GenerationRequest) -> str | None:
        """None."""
        return None


def newest(rows: Rows, decoding: int) -> Plan:
    """The newest token of every decoding row, and nothing else."""
    order = np.argsort(rows.slot[:decoding])
    return Plan(order, Block(rows.slot[order], rows.position[order], rows.token[order]))


def draw_all(turn: Turn, logits_UV: torch.Tensor, source: Ints, seconds: float = 0.0, work: Any = None) -> Drawn:
    """A token for every row; row i draws from `logits_UV[source[i]]`."""
    rows, places = turn.rows, np.argsort(source, kind="stable")
    tokens, logprobs, broken = sample(logits_UV, source[places], *settings(rows, places), draws(rows, places))
    return Drawn(places, tokens, logprobs, broken, turn.hidden_UH, turn.source[places], seconds, work)


def settings(rows: Rows, places: Ints) -> tuple[Any, Any, Any]:
    """Temperature, top-p and top-k of these rows."""
    return rows.temperature[places], rows.top_p[places], rows.top_k[places]


def draws(rows: Rows, places: Ints) -> npt.NDArray[np.float64]:
    """The uniform numbers of the rows' next tokens."""
    return uniforms(rows.stream[places], rows.index[places])


def joined(hidden: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows one behind the other; no copy of a single piece."""
    return hidden[0] if len(hidden) == 1 else torch.cat(list(hidden))
