"""Thinking ahead inside the local engine: visible tokens are drafted without waiting for their thoughts.

The plain head drafts the next token at once, and the draft is fed while the thoughts behind earlier tokens are still
under way (`wavefront.py`). Each poll is one forward, which carries a sequence's newest token with the start of its
thought, the first thought token of the position before, and so on. In a steady state one thought ends in every poll.
Its mixed distribution judges the token that was drafted there: by speculative sampling the token stays or another is
drawn, so that the text has the very distribution that it has without drafts; greedy text is equal token by token.
Another token drops all that was drafted behind it, and the wavefront fills again. Where a share a of the drafts stays,
n_ahead = 8 takes 1 + 5 (1 - a) forwards a token instead of 6.

    engine = QuietStar("quietstar-8-ahead", ahead=True).open()

Zelikman et al. 2024 (arXiv 2403.09629); Leviathan et al. 2023 (arXiv 2211.17192). Legend: E tokens whose thoughts begin
in this forward, T rows that choose a token of a thought, F thoughts that end, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from isoflop.cost.flops import Pricer
from isoflop.engines.base import GenerationRequest
from isoflop.engines.local_cost import Meter, Shares
from isoflop.engines.local_rows import Rows
from isoflop.engines.local_thinker import NOBODY, Drawn, Plan, Thinker, Turn, settings
from isoflop.quietstar.ahead_tally import Tally
from isoflop.quietstar.config import ThoughtConfig
from isoflop.quietstar.cost import ThinkingCosts
from isoflop.quietstar.engine_model import EngineModel, thought_positions
from isoflop.quietstar.head import ThoughtParameters
from isoflop.quietstar.wavefront import Wavefront
from isoflop.randomness import uniforms
from isoflop.runtime.attention import Block, Ints
from isoflop.runtime.runner import Runner
from isoflop.runtime.sampling import likeliest, sample, verify
from isoflop.thought import Thought

# Among the random numbers about a token, behind all those of its thought's tokens: whether its draft stays, and what is
# drawn in its place.
ACCEPT, REDRAW = np.uint64(1 << 31), np.uint64((1 << 31) + 1)


@dataclass(frozen=True, slots=True)
class Pass:
    """What goes into a poll's forward: slots whose thoughts begin in it (plain states that were known already are
    `late_EH`), the thoughts' rows with their lanes and how many inputs went before, the last rows of those that end."""

    entering: Ints
    late_EH: tuple[torch.Tensor, ...]
    rows: Block
    ends: Block
    lanes: Ints
    stages: Ints


@final
class AheadThinker(Thinker):
    """See the module."""

    def __init__(
        self,
        runner: Runner,
        pieces: Sequence[bytes],
        pricer: Pricer,
        parameters: ThoughtParameters,
        config: ThoughtConfig,
        *,
        sampled: bool,
    ) -> None:
        self._model = EngineModel(runner, pieces, parameters, config, sampled=sampled)
        slots = runner.slots.count
        self._front = Wavefront(slots, config, self._model.start, self._model.end)
        self.spare_tokens, self.front_tokens = config.inputs, front_tokens(config)
        self.costs = costs = ThinkingCosts(pricer, config.n_ahead, ahead=True)
        self._tally = Tally(slots, costs.prices)
        # By lane: plain states and logits of the tokens whose thoughts are in it.
        self._hidden_EH = [torch.empty(0)] * self._front.lanes
        self._plain_EV = [torch.empty(0)] * self._front.lanes
        self._late: dict[int, torch.Tensor] = {}
        # The pass in which each slot's newest token was settled, and the row of each slot.
        self._settled_S, self._place_S = np.zeros(slots, dtype=np.int64), np.zeros(slots, dtype=np.int64)
        self._pass = Pass(NOBODY, (), *self._front.rows())

    def plan(self, rows: Rows, decoding: int, fed: Ints) -> Plan:
        """Of each sequence the next drafted token, if its request can still need it, and all thoughts under way."""
        front = self._front
        self._place_S[rows.slot[: rows.count]] = np.arange(rows.count)
        places = np.argsort(rows.slot[:decoding])
        late = np.array(sorted(self._late), dtype=np.int64)
        slots = rows.slot[places]
        due = front.next_S[slots] < rows.position[places] + rows.left[places]
        if len(late):
            due &= ~np.isin(slots, late)
        places, slots = places[due], slots[due]
        newest = Block(slots, front.next_S[slots].copy(), front.token_S[slots])
        self._settled_S[rows.slot[fed]] = front.passes - 1
        entering = np.concatenate([slots, rows.slot[fed], late])
        positions = [newest.positions, rows.position[fed], rows.position[self._place_S[late]]]
        front.begin(entering, np.concatenate(positions))
        late_EH = tuple(self._late[slot][None] for slot in late.tolist())
        self._late.clear()
        self._pass = Pass(entering, late_EH, *front.rows())
        behind = (self._pass.rows, self._pass.ends) if len(self._pass.rows.slots) else ()
        return Plan(places, newest, NOBODY, behind)

    def draw(self, turn: Turn) -> Drawn:
        """Draft, go on with the thoughts, and settle the tokens whose thoughts have ended."""
        front, now, count = self._front, self._pass, len(turn.plan.places) + len(turn.fed)
        if not len(now.rows.slots):
            return self._settled(turn, NOBODY, turn.hidden_UH[:0], turn.hidden_UH[:0], turn.hidden_UH[:0])
        ending = now.stages == front.sampled
        slots_F = now.rows.slots[ending]
        hidden_EH = torch.cat([turn.hidden_UH[:count], *now.late_EH])
        self._hidden_EH[front.newest] = hidden_EH
        rows_RH, ends_FH = turn.behind_RH[: len(ending)], turn.behind_RH[len(ending) :]
        if front.inputs == 1:
            ends_FH = rows_RH
        which_F = torch.from_numpy(front.row_SL[slots_F, front.oldest])
        base_FH = self._hidden_EH[front.oldest][which_F.to(hidden_EH.device)] if len(slots_F) else ends_FH
        mixed_FH, weight_F = self._model.mix(base_FH, ends_FH)
        thinking_TH = rows_RH[torch.from_numpy(np.flatnonzero(~ending)).to(rows_RH.device)]
        logits = self._model.logits(torch.cat([hidden_EH, thinking_TH, mixed_FH]))
        plain_EV, thought_TV, mixed_FV = torch.split(logits, [len(hidden_EH), len(thinking_TH), len(mixed_FH)])
        self._plain_EV[front.newest] = plain_EV.clone()  # not a view that would keep all logits
        self._draft(turn.rows, plain_EV)
        self._think(turn.rows, ~ending, thought_TV)
        return self._settled(turn, slots_F, mixed_FV, weight_F, base_FH)

    def book(self, turn: Turn, drawn: Drawn, unit: Shares, behind_flops: int, meter: Meter) -> None:
        """What each sequence's thoughts bear of the forward; where it settled no token, also that it was waited for."""
        now = self._pass
        if not len(now.rows.slots):
            return
        self._tally.add(now.rows, now.stages, now.ends, unit, behind_flops)
        waiting = np.setdiff1d(self._place_S[now.rows.slots], drawn.places)
        if len(waiting):
            searches, first = np.unique(turn.rows.search[waiting], return_index=True)
            alone = ~np.isin(searches, turn.rows.search[drawn.places])
            self._tally.waited(turn.rows.slot[waiting[first[alone]]])

    def leave(self, rows: Rows, place: int) -> None:
        """What was drafted behind the last token is dropped."""
        row, slot, position = rows.rows[place], int(rows.slot[place]), int(rows.position[place])
        first = position if row.thoughts else position + 1
        dropped = int(self._front.next_S[slot]) - first
        if dropped > 0:
            self._tally.drop(slot, first - 1, dropped)
            if row.thoughts:
                at, thought = row.thoughts[-1]
                row.thoughts[-1] = at, replace(thought, dropped=thought.dropped + dropped)
        siblings = int((rows.search[: rows.count] == rows.search[place]).sum())
        row.thought_cost = self._tally.take(slot, siblings * self.front_tokens)
        self._front.leave(slot)
        self._late.pop(slot, None)

    def refusal(self, request: GenerationRequest) -> str | None:
        """See `EngineModel`."""
        return self._model.refusal(request)

    def _draft(self, rows: Rows, plain_EV: torch.Tensor) -> None:
        """A token behind each that entered, by the plain distribution; its random number is the one that it is drawn
        with where nothing thinks."""
        slots = self._pass.entering
        if not len(slots):
            return
        places = self._place_S[slots]
        indices = self._indices(rows, places, self._front.next_S[slots] - 1)
        draws = uniforms(rows.stream[places], indices)
        tokens, _, _ = sample(plain_EV, np.arange(len(slots)), *settings(rows, places), draws)
        self._front.drafted(slots, tokens)

    def _think(self, rows: Rows, which: np.ndarray, thought_TV: torch.Tensor) -> None:
        """The next token of each thought that has not ended."""
        now, front = self._pass, self._front
        slots, lanes, steps = now.rows.slots[which], now.lanes[which], now.stages[which]
        if not len(slots):
            return
        places = self._place_S[slots]
        indices = self._indices(rows, places, front.anchor_SL[slots, lanes])
        front.tokens_SLN[slots, lanes, steps] = self._model.choose(thought_TV, rows.stream[places], indices, steps)

    def _settled(
        self, turn: Turn, slots: Ints, mixed_FV: torch.Tensor, weight_F: torch.Tensor, base_FH: torch.Tensor
    ) -> Drawn:
        """What came of the thoughts that ended; rows whose newest token was known already enter next time."""
        nothing = np.zeros(0)
        drawn = Drawn(NOBODY, NOBODY, nothing, nothing.astype(np.bool_), base_FH, NOBODY)
        if len(slots):
            drawn = self._settle(turn.rows, slots, mixed_FV, weight_F, base_FH)
        for place in np.setdiff1d(np.arange(turn.begun, turn.rows.count), turn.fed).tolist():
            slot = int(turn.rows.slot[place])
            self._late[slot] = turn.hidden_UH[turn.source[place]].clone()
            self._front.next_S[slot] = turn.rows.position[place] + 1
            self._settled_S[slot] = self._front.passes
        self._front.advance()
        return drawn

    def _settle(
        self, rows: Rows, slots: Ints, mixed_FV: torch.Tensor, weight_F: torch.Tensor, base_FH: torch.Tensor
    ) -> Drawn:
        """Judge the drafts whose thoughts have ended."""
        front, places = self._front, self._place_S[slots]
        lane = front.oldest
        drafts, anchors = front.draft_SL[slots, lane], front.anchor_SL[slots, lane]
        plain_FV = self._plain_EV[lane][torch.from_numpy(front.row_SL[slots, lane]).to(mixed_FV.device)]
        about = thought_positions(rows.index[places])
        accept, redraw = (uniforms(rows.stream[places], about + what) for what in (ACCEPT, REDRAW))
        judged = verify(drafts, plain_FV, mixed_FV, *settings(rows, places), accept, redraw)
        thoughts = front.tokens_SLN[slots, lane].tolist()
        dropped = front.verdict(slots, judged[0])
        waited = front.passes - self._settled_S[slots] - 1
        self._settled_S[slots] = front.passes
        plain, mixed = likeliest(plain_FV).tolist(), likeliest(mixed_FV).tolist()
        for k, (place, weight) in enumerate(zip(places.tolist(), weight_F.tolist(), strict=True)):
            texts = [self._model.text(tokens) for tokens in (thoughts[k], [plain[k]], [mixed[k]])]
            own = tuple(thoughts[k]), texts[0], weight, texts[1], texts[2], None, int(waited[k]), int(dropped[k])
            rows.rows[place].thoughts.append((int(anchors[k]) + 1, Thought(0, *own)))
            if dropped[k]:
                self._tally.drop(int(slots[k]), int(anchors[k]), int(dropped[k]))
        return Drawn(places, *judged, base_FH, np.arange(len(slots)))

    def _indices(self, rows: Rows, places: Ints, anchors: Ints) -> np.ndarray:
        """Indices in their trajectories of the tokens behind these anchors."""
        indices: np.ndarray = rows.index[places] + (anchors - rows.position[places]).astype(np.uint64)
        return indices


def front_tokens(config: ThoughtConfig) -> int:
    """Places that the thoughts of one sequence need in its slot's front."""
    return (config.sampled_tokens + 1) * config.inputs
