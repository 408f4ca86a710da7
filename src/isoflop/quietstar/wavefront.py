"""The wavefront of thoughts: who is at which input of which thought, for all sequences of an engine at once.

While the thought behind token t is at its k-th input, the token t + 1 has been drafted and its thought is at input
k - 1, and so on: one pass carries them all. A thought lives in a lane of its sequence's slot. All thoughts that begin
in one pass have the same lane, so a pass's number tells how far each is, and a lane is free when its turn comes again.

    front = Wavefront(slots=64, config=config)
    front.begin(slots, positions)           # these tokens enter with the next pass; then ...
    block, ends = front.rows()              # ... its rows, and
    front.advance()                         # on to the next

It holds whole numbers alone: no model, no probabilities. `engine_ahead.py` runs and judges.

Legend: S slots, L lanes, N tokens of a thought that are chosen.
"""

from __future__ import annotations

import numpy as np

from isoflop.quietstar.config import ThoughtConfig
from isoflop.runtime.attention import Block, Ints

NOWHERE = -1


class Wavefront:
    """`anchor_SL[s, l]`: the position of the token that the thought in lane l of slot s follows (-1: there is none).

    `row_SL`: which of those that began with it a thought was; `tokens_SLN`: its tokens so far; `draft_SL`: the token
    that was drafted behind its anchor. `next_S` and `token_S`: the position of the next token to feed, and the token.
    """

    def __init__(self, slots: int, config: ThoughtConfig, start: int, end: int) -> None:
        self.passes = 0
        self.inputs, self.sampled = config.inputs, config.sampled_tokens
        self.lanes = self.sampled + 1
        self._start, self._end = start, end
        self.anchor_SL = np.full((slots, self.lanes), NOWHERE, dtype=np.int64)
        self.row_SL = np.zeros((slots, self.lanes), dtype=np.int64)
        self.draft_SL = np.zeros((slots, self.lanes), dtype=np.int64)
        self.tokens_SLN = np.zeros((slots, self.lanes, self.sampled), dtype=np.int64)
        self.next_S = np.zeros(slots, dtype=np.int64)
        self.token_S = np.zeros(slots, dtype=np.int64)

    @property
    def newest(self) -> int:
        """The lane of the thoughts that begin in this pass."""
        return self.passes % self.lanes

    @property
    def oldest(self) -> int:
        """The lane of the thoughts that are complete after this pass."""
        return (self.passes + 1) % self.lanes

    def begin(self, slots: Ints, positions: Ints) -> None:
        """Thoughts behind these tokens begin in this pass."""
        self.anchor_SL[slots, self.newest] = positions
        self.row_SL[slots, self.newest] = np.arange(len(slots))
        self.next_S[slots] = positions + 1

    def rows(self) -> tuple[Block, Block, Ints, Ints]:
        """This pass's inputs of all thoughts, in the order of their slots, and the last inputs of those that end; of
        the former also the lanes, and how many inputs each thought had before."""
        slots, lanes = np.nonzero(self.anchor_SL >= 0)
        stages = (self.passes - lanes) % self.lanes
        ids = np.full(len(slots), self._start)
        if self.sampled:
            ids = np.where(stages > 0, self.tokens_SLN[slots, lanes, stages - 1], ids)
        anchors = self.anchor_SL[slots, lanes]
        ending = np.flatnonzero(stages == self.sampled) if self.inputs > 1 else slots[:0]
        block = Block(slots, anchors + 1 + stages, ids, anchors, lanes * self.inputs)
        ends = Block(
            slots[ending],
            anchors[ending] + self.inputs,
            np.full(len(ending), self._end),
            anchors[ending],
            lanes[ending] * self.inputs,
        )
        return block, ends, lanes, stages

    def drafted(self, slots: Ints, tokens: Ints) -> None:
        """Behind the tokens that began in this pass, these are drafted: they are fed next."""
        self.draft_SL[slots, self.newest] = tokens
        self.token_S[slots] = tokens

    def verdict(self, slots: Ints, tokens: Ints) -> Ints:
        """The thoughts in the oldest lane of these slots led to `tokens`. Where another was drafted, all that began
        behind the draft is dropped, and the token is fed next. Returns how many fed tokens each drops."""
        lane = self.oldest
        anchors = self.anchor_SL[slots, lane]
        wrong = tokens != self.draft_SL[slots, lane]
        dropped = np.where(wrong, self.next_S[slots] - 1 - anchors, 0)
        self.anchor_SL[slots, lane] = NOWHERE
        again = slots[wrong]
        self.anchor_SL[again] = NOWHERE
        self.next_S[again] = anchors[wrong] + 1
        self.token_S[again] = tokens[wrong]
        return dropped

    def leave(self, slot: int) -> None:
        """Drop all of a slot."""
        self.anchor_SL[slot] = NOWHERE

    def advance(self) -> None:
        """The next pass."""
        self.passes += 1
