"""The local engine: continuous batching over transformers models, nothing computed twice.

All live sequences, whatever search they belong to, advance by one token per `poll`. Keys and values live in slots; a
path that is grown goes on in its slot, siblings copy it, and what a search has computed is computed again only after
it was evicted (booked as `recomputed_tokens`). Requests without a slot wait; they never block the others. It decides
nothing about what is generated.

    engine = Local("path/to/model").open()
    engine.submit([GenerationRequest(id=1, parent=root, stream=7, max_tokens=64, until=Until.END)])
    while not (done := engine.poll()): ...
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from isoflop.asking import Markers
from isoflop.cost.ledger import ZERO, Cost, Role
from isoflop.cost.shape import ModelShape
from isoflop.engines.base import Generation, GenerationRequest
from isoflop.engines.local_cost import Account, Meter
from isoflop.engines.local_paths import Claim, Paths, SearchPaths
from isoflop.engines.local_paths import Tokens as PathTokens
from isoflop.engines.local_rows import Row, RowKey, Rows
from isoflop.engines.local_text import Tokens
from isoflop.engines.local_thinker import NOBODY, Drawn, Plain, Thinker, Turn, joined
from isoflop.engines.model_engine import ModelEngine
from isoflop.engines.segment import Segmenter, completing, look_back, marks_of, tail_bytes
from isoflop.runtime.attention import Layout, Segment
from isoflop.runtime.runner import Batch, Readout, Runner
from isoflop.thought import Thought

# Known tokens fed in one forward beside the decoding rows: bounds its memory and how long the others wait for it.
FED_TOKENS = 2048


@dataclass(eq=False, slots=True)
class _Fed:
    """A row whose known tokens go into this forward."""

    row: Row
    place: int
    target: PathTokens
    segment: Segment


class LocalEngine(ModelEngine):
    """See the module. `forwards` counts forwards, `runner` runs them; `readout`, where set, reads every step."""

    readout: Readout | None = None

    def __init__(
        self,
        runner: Runner,
        tokens: Tokens,
        shape: ModelShape,
        max_live: int,
        thinker: Thinker | None = None,
        *,
        share_prompts: bool = False,
    ) -> None:
        self.runner, self._thinker, self._meter = runner, thinker or Plain(runner), Meter(shape)
        super().__init__(tokens, self._meter.pricer, runner.slots.tokens - self._thinker.spare_tokens)
        self.forwards = 0
        self._paths = Paths(runner.slots.count, self.context_tokens, share_prompts=share_prompts)
        self._logprobs = np.zeros((runner.slots.count, self.context_tokens))
        # What the head read where each slot's newest token was drawn.
        self._reads: dict[int, tuple[float, ...]] = {}
        self._rows = Rows(min(max_live, runner.slots.count))
        self._queue: deque[GenerationRequest] = deque()
        self._done: list[Generation] = []
        self._marks: dict[tuple[Markers, tuple[str, ...] | None, bool], tuple[int, int]] = {}
        self._tables = np.zeros((0, len(tokens.pieces)), dtype=np.bool_)

    def thought_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """By formula, as the engine thinks."""
        costs = self._thinker.costs
        return costs.most(start, tokens) if costs else {}

    def cost_of_thought(self, place: int, thought: Thought) -> Mapping[Role, Cost]:
        """By formula, as the engine thinks."""
        costs = self._thinker.costs
        return costs.took(place, thought) if costs else {}

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Requests wait in order for a row and a slot."""
        for request in requests:
            reason = self._refusal(request)
            if reason is None:
                self._queue.append(request)
            else:
                self._done.append(Generation(request.id, (), error=reason))

    def poll(self) -> list[Generation]:
        """One forward over all live sequences, and one token for each."""
        if self._queue or self._rows.count:
            self._advance()
        done, self._done = self._done, []
        return done

    def cancel(self, ids: Sequence[int]) -> None:
        """Waiting requests come back empty, live ones with what they have."""
        wanted = set(ids)
        for request in [request for request in self._queue if request.id in wanted]:
            self._queue.remove(request)
            self._done.append(Generation(request.id, (), cancelled=True))
        for i in reversed(range(self._rows.count)):
            if self._rows.rows[i].request.id in wanted:
                self._segment(i)
                self._finish(i, cancelled=True)

    def release(self, search: str) -> None:
        """Forget the search's paths; what of it still runs is cancelled."""
        self.cancel([request.id for request in self._queue if request.parent.origin.search == search])
        self.cancel([row.request.id for row in self._rows.rows if row.request.parent.origin.search == search])
        self._paths.release(search)

    def close(self) -> None:
        """Give the memory back."""
        self._queue.clear()
        self.runner.free()

    def _refusal(self, request: GenerationRequest) -> str | None:
        known = request.parent.length + len(request.forced)
        if known == 0:
            return "the prompt is empty: there is no token to start from"
        if known >= self.context_tokens:
            return (
                f"the prompt and solution have {known} tokens, which leaves no room in the engine's context of "
                f"{self.context_tokens}; raise context_tokens or shorten the prompt"
            )
        return self._thinker.refusal(request)

    def _advance(self) -> None:
        """Admit, run, draw, book, and let finished rows go."""
        began = time.perf_counter()
        rows, decoding = self._rows, self._rows.count
        fed, ready, deferred = self._admit()
        places = np.array([one.place for one in fed], dtype=np.int64)
        plan = self._thinker.plan(rows, decoding, places)
        # Which state each sequence draws from: fed tokens in the order of their slots, fed rows, ready ones.
        count = len(plan.places) + len(fed)
        source = np.full(rows.size, -1, dtype=np.int64)
        source[plan.places] = np.arange(len(plan.places))
        source[places] = np.arange(len(plan.places), count)
        hidden: list[torch.Tensor] = []
        layout, behind = None, torch.empty(0)
        if count or plan.behind:
            segments = tuple(one.segment for one in fed)
            pieces = tuple(one.target[one.segment.start :].astype(np.int64) for one in fed)
            batch = Batch(plan.newest.slots, plan.newest.positions, plan.newest.tokens, segments, pieces, plan.behind)
            advance = self.runner.step(batch)
            self.forwards += 1
            layout, behind = advance.layout, advance.hidden_RD[count:]
            hidden.append(advance.hidden_RD[:count])
            self._keep(decoding, fed, hidden[0][len(plan.places) :])
        known: dict[RowKey, int] = {}
        for place, row in ready:
            if row.key not in known:
                known[row.key] = count + len(known)
                hidden.append(row.search.hidden[row.key][None])
            source[place] = known[row.key]
        followers = self._follow(deferred, {one.row.key: one.place for one in fed})
        source[rows.count - len(followers) : rows.count] = source[followers]
        turn = Turn(rows, decoding, places, source[: rows.count], joined(hidden), plan, behind)
        drawn = self._thinker.draw(turn)
        self._write(drawn)
        self._book(turn, fed, drawn, time.perf_counter() - began, layout)
        self._let_go(drawn)

    def _admit(self) -> tuple[list[_Fed], list[tuple[int, Row]], list[GenerationRequest]]:
        """Give waiting requests rows and slots: those to be fed, those that need logits alone, those that wait for
        one of the former, because it is computing what they share."""
        fed: list[_Fed] = []
        ready: list[tuple[int, Row]] = []
        deferred: list[GenerationRequest] = []
        room = FED_TOKENS
        while self._queue and self._rows.count < self._rows.size and room > 0:
            request = self._queue[0]
            search = self._paths.search(request.parent.origin.search)
            target = search.target(request.parent, request.forced)
            key, coming = (request.parent, request.forced), [(one.row.search, one.target) for one in fed]
            if any(one.row.key == key for one in fed) or self._paths.is_coming(search, target, coming):
                deferred.append(self._queue.popleft())
                continue
            row = self._start(request, target)
            if row is None:
                break
            self._queue.popleft()
            if row.account.fed:
                place = self._rows.count - 1
                segment = Segment(int(self._rows.slot[place]), row.account.start, row.account.fed)
                fed.append(_Fed(row, place, target, segment))
                room -= row.account.fed
            else:
                row.account.head = all(other.key != row.key for _, other in ready)
                ready.append((self._rows.count - 1, row))
        return fed, ready, deferred

    def _start(self, request: GenerationRequest, target: PathTokens) -> Row | None:
        """A row and a slot for a request, its cached prefix in place; None where no slot is to be had."""
        search = self._paths.search(request.parent.origin.search)
        claim = self._paths.claim(search, target, ready=(request.parent, request.forced) in search.hidden)
        if claim is None:
            return None
        if claim.source is not None:
            self.runner.slots.copy(claim.source, [claim.slot], claim.start)
        return self._row(request, search, claim, len(target))

    def _row(self, request: GenerationRequest, search: SearchPaths, claim: Claim, known: int) -> Row:
        """The row of a request whose slot is ready."""
        table, back = self._table(request)
        pieces = self.tokens.pieces
        segmenter = Segmenter(
            request,
            [pieces[token] for token in request.forced],
            tail_bytes(request.parent, pieces, back),
            self.tokens.end_tokens,
            tuple if self.readout is None else partial(self._reads.__getitem__, claim.slot),
        )
        account = Account(claim.start, known - claim.start, claim.recomputed, head=True)
        row = Row(request, search, segmenter, account, seen=known)
        self._rows.add(row, claim.slot, known, min(request.max_tokens, self.context_tokens - known), table)
        return row

    def _table(self, request: GenerationRequest) -> tuple[int, int]:
        """Which table tells the tokens that may complete one of the request's marks, and how far to look back."""
        key = (request.parent.origin.prompt.markers, request.stop, request.closing)
        if key not in self._marks:
            table = completing(self.tokens.pieces, marks_of(request), self.tokens.end_tokens)
            self._marks[key] = (len(self._tables), look_back(request))
            self._tables = np.concatenate([self._tables, table[None]])
        return self._marks[key]

    def _keep(self, decoding: int, fed: Sequence[_Fed], hidden_FD: torch.Tensor) -> None:
        """Note what is cached now, and the hidden states that siblings and returns will want."""
        self._paths.held[self._rows.slot[:decoding]] = self._rows.position[:decoding] + 1
        for k, one in enumerate(fed):
            self._paths.held[one.segment.slot] = len(one.target)
            one.row.search.hidden[one.row.key] = hidden_FD[k].clone()

    def _follow(self, deferred: Sequence[GenerationRequest], leads: Mapping[RowKey, int]) -> list[int]:
        """Start the siblings of the rows `leads`, which were fed just now: they draw from the same logits. Others
        wait on. Returns the lead of each new row."""
        followers: list[int] = []
        waiting: list[GenerationRequest] = []
        copies: dict[int, list[int]] = {}
        for request in deferred:
            lead = leads.get((request.parent, request.forced))
            slot = None
            if lead is not None and self._rows.count < self._rows.size:
                search = self._rows.rows[lead].search
                target = search.target(request.parent, request.forced)
                slot = self._paths.follow(search, target)
            if lead is None or slot is None:
                waiting.append(request)
                continue
            copies.setdefault(lead, []).append(slot)
            row = self._row(request, search, Claim(slot, None, len(target), 0), len(target))
            row.account.head = False
            followers.append(lead)
        for lead, slots in copies.items():
            known = int(self._rows.position[lead]) + 1
            self.runner.slots.copy(int(self._rows.slot[lead]), slots, known)
        self._queue.extendleft(reversed(waiting))
        return followers

    def _write(self, drawn: Drawn) -> None:
        """Write the drawn tokens down."""
        rows, places = self._rows, drawn.places
        rows.token[places] = drawn.tokens
        rows.position[places] += 1
        rows.index[places] += np.uint64(1)
        rows.left[places] -= 1
        rows.begins[places] = False
        slots, positions = rows.slot[places], rows.position[places]
        self._paths.table[slots, positions] = drawn.tokens
        self._logprobs[slots, positions] = drawn.logprobs
        if self.readout is not None:
            read = self.readout(drawn.hidden_UH)[torch.from_numpy(drawn.source)].tolist()
            self._reads.update(zip(slots.tolist(), map(tuple, read), strict=True))

    def _book(self, turn: Turn, fed: Sequence[_Fed], drawn: Drawn, seconds: float, layout: Layout | None) -> None:
        """Divide the forward over its rows (see `local_cost.py`); new rows that were not fed were only sampled from."""
        rows, meter, newest = self._rows, self._meter, turn.plan.places
        idle = NOBODY if rows.count == turn.begun else np.setdiff1d(np.arange(turn.begun, rows.count), turn.fed)
        tokens = len(newest) + sum(one.segment.tokens for one in fed) + len(turn.behind_RH)
        heads = len(newest) + len(fed) + sum(rows.rows[place].account.head for place in idle)
        own = meter.attention_flops(layout.newest_pairs) if layout else 0
        behind = meter.attention_flops(layout.behind_pairs) if layout and len(turn.behind_RH) else 0
        unit = meter.forward(tokens + len(idle), len(newest), tokens, heads, seconds - drawn.seconds, own)
        rows.bear(newest, unit)
        for one in fed:
            attention = meter.pricer.executed(0, one.segment.tokens * len(one.target), 0)
            rows.bear(one.place, unit, one.segment.tokens, attention)
        rows.bear(idle, unit, attention_flops=0.0)
        self._thinker.book(turn, drawn, unit, behind, meter)
        # Of each search one row that got a token waited for this forward.
        waited = np.zeros(rows.count, dtype=np.bool_)
        waited[drawn.places] = True
        waited[idle] = False
        members = np.flatnonzero(waited)
        rows.serial[members[np.unique(rows.search[members], return_index=True)[1]]] += 1

    def _let_go(self, drawn: Drawn) -> None:
        """Look at the rows whose last token may end something; hand out those that are done."""
        rows, places = self._rows, drawn.places
        broken = np.zeros(rows.count, dtype=np.bool_)
        broken[places] = drawn.broken
        look = self._tables[rows.marks[places], rows.token[places]] | (rows.left[places] == 0) | drawn.broken
        # From the back: the row that fills a gap has been looked at.
        for i in np.sort(places[look])[::-1].tolist():
            if broken[i]:
                self._fail(i)
            elif self._segment(i) or rows.left[i] == 0:
                self._finish(i)

    def _segment(self, i: int) -> bool:
        """Give row i's new tokens to its segmenter; True where its generation is complete."""
        row, slot, end = self._rows.rows[i], self._rows.slot[i], int(self._rows.position[i]) + 1
        if row.seen < end:
            tokens = self._paths.table[slot, row.seen : end].tolist()
            logprobs = self._logprobs[slot, row.seen : end].tolist()
            row.seen = end
            row.segmenter.push(tokens, logprobs, [self.tokens.pieces[token] for token in tokens])
            self._rows.begins[i] = row.segmenter.at_start
        return row.segmenter.done

    def _finish(self, i: int, *, cancelled: bool = False) -> None:
        """Take row i out and hand its steps over; its slot keeps the path."""
        row, slot = self._rows.rows[i], int(self._rows.slot[i])
        row.segmenter.cut()
        self._paths.rest(slot)
        self._hand_over(i, row.segmenter.steps, cancelled=cancelled)

    def _fail(self, i: int) -> None:
        """Row i's logits are not numbers: its slot is wiped, the others go on."""
        row, slot = self._rows.rows[i], int(self._rows.slot[i])
        position = int(self._rows.position[i])
        row.search.hidden.pop(row.key, None)
        row.search.thoughts.pop(row.key, None)
        self.runner.slots.clear(slot)
        self._paths.forget(slot)
        reason = f"the model's logits after {position} tokens are not numbers (NaN or infinite); try dtype='float32'"
        self._hand_over(i, (), error=reason)

    def _hand_over(self, i: int, steps: Iterable[Any], *, error: str | None = None, cancelled: bool = False) -> None:
        """Take row i out, and say what it made and took."""
        self._thinker.leave(self._rows, i)
        borne, serial = self._rows.borne(i), int(self._rows.serial[i])
        row = self._rows.remove(i)
        made = row.with_thoughts(steps) if row.thoughts else tuple(steps)
        sampled = sum(step.sampled for step in made)
        cost = self._meter.cost(row.account, borne, sampled, row.search.most_held, serial)
        spent: dict[Role, Cost] = {"policy": cost}
        if row.thought_cost is not ZERO:
            spent["thought"] = row.thought_cost
        seconds = cost.seconds + row.thought_cost.seconds
        self._done.append(Generation(row.request.id, made, spent, seconds, error, cancelled))
