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

from isoflop.asking import Markers, Prompt
from isoflop.cost.ledger import ZERO, Cost, Role
from isoflop.cost.shape import ModelShape
from isoflop.engines.base import Engine, Generation, GenerationRequest
from isoflop.engines.local_cost import Account, Meter
from isoflop.engines.local_paths import Claim, Paths, SearchPaths
from isoflop.engines.local_paths import Tokens as PathTokens
from isoflop.engines.local_rows import Row, RowKey, Rows
from isoflop.engines.local_text import Tokens
from isoflop.engines.local_thinker import Plain, Scored, Thinker, Turn, joined
from isoflop.engines.segment import Segmenter, completing, look_back, marks_of, tail_bytes
from isoflop.randomness import uniforms
from isoflop.runtime.attention import Layout, Segment
from isoflop.runtime.runner import Batch, Readout, Runner
from isoflop.runtime.sampling import sample

# Known tokens fed in one forward beside the decoding rows: bounds its memory and how long the others wait for it.
FED_TOKENS = 2048


@dataclass(eq=False, slots=True)
class _Fed:
    """A row whose known tokens go into this forward."""

    row: Row
    place: int
    target: PathTokens
    segment: Segment


class LocalEngine(Engine):
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
        self.runner, self.tokens = runner, tokens
        self._thinker = thinker or Plain(runner)
        self.context_tokens = runner.slots.tokens - self._thinker.spare_tokens
        self.forwards = 0
        self._meter = Meter(shape)
        self._paths = Paths(runner.slots.count, self.context_tokens, share_prompts=share_prompts)
        self._logprobs = np.zeros((runner.slots.count, self.context_tokens))
        # The hidden states of the last poll, and which of them chose each slot's newest token.
        self._hidden_UH, self._chose = torch.empty(0), np.zeros(runner.slots.count, dtype=np.int64)
        self._rows = Rows(min(max_live, runner.slots.count))
        self._queue: deque[GenerationRequest] = deque()
        self._done: list[Generation] = []
        self._marks: dict[tuple[Markers, tuple[str, ...] | None, bool], tuple[int, int]] = {}
        self._tables = np.zeros((0, len(tokens.pieces)), dtype=np.bool_)

    def render(self, prompt: Prompt) -> str:
        """Through the model's chat template where the prompt is a chat."""
        return self.tokens.render(prompt)

    def encode(self, text: str, *, prompt: bool = False) -> tuple[int, ...]:
        """By the model's own tokenizer."""
        return self.tokens.encode(text, prompt=prompt)

    def prefill_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """By formula."""
        return {"policy": self._meter.pricer.prefill_cost(start, tokens)}

    def decode_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """By formula."""
        return {"policy": self._meter.pricer.decode_cost(start, tokens)}

    def thought_cost(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """By formula, as the engine thinks."""
        return self._thinker.most(start, tokens)

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
        """Admit, run, sample, book, and let finished rows go."""
        began = time.perf_counter()
        rows, decoding = self._rows, self._rows.count
        fed, ready, deferred = self._admit()
        order = np.argsort(rows.slot[:decoding])
        # Which row of logits each sequence draws from: decoding ones in the order of their slots, fed ones, ready ones.
        source = np.empty(rows.size, dtype=np.int64)
        source[order] = np.arange(decoding)
        riders = self._thinker.riders(rows, np.array([*order, *(one.place for one in fed)], dtype=np.int64))
        hidden: list[torch.Tensor] = []
        layout, behind = None, torch.empty(0)
        if decoding or fed:
            batch = Batch(
                rows.slot[order],
                rows.position[order],
                rows.token[order],
                tuple(one.segment for one in fed),
                tuple(one.target[one.segment.start :].astype(np.int64) for one in fed),
                self._thinker.behind(rows, riders),
            )
            advance = self.runner.step(batch)
            self.forwards += 1
            layout, behind = advance.layout, advance.hidden_RD[decoding + len(fed) :]
            hidden.append(advance.hidden_RD[: decoding + len(fed)])
            self._keep(decoding, fed, hidden[0])
        for k, one in enumerate(fed):
            source[one.place] = decoding + k
        known: dict[RowKey, int] = {}
        for place, row in ready:
            if row.key not in known:
                known[row.key] = decoding + len(fed) + len(known)
                hidden.append(row.search.hidden[row.key][None])
            source[place] = known[row.key]
        followers = self._follow(deferred, {one.row.key: one.place for one in fed})
        for k, (_, lead) in enumerate(followers):
            source[rows.count - len(followers) + k] = source[lead]
        turn = Turn(rows, decoding, source[: rows.count], joined(hidden), riders, behind)
        if self.readout is not None:
            self._hidden_UH, self._chose[rows.slot[: rows.count]] = turn.hidden_UH, turn.source
        scored = self._thinker.score(turn)
        broken = self._sample(scored.logits_UV, scored.source)
        begun = [row for _, row in ready] + [row for row, _ in followers]
        self._book(turn, fed, begun, scored, time.perf_counter() - began, layout)
        self._let_go(broken)

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
            tuple if self.readout is None else partial(self._read, self.readout, claim.slot),
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

    def _keep(self, decoding: int, fed: Sequence[_Fed], hidden_RD: torch.Tensor) -> None:
        """Note what is cached now, and the hidden states that siblings and returns will want."""
        self._paths.held[self._rows.slot[:decoding]] = self._rows.position[:decoding] + 1
        for k, one in enumerate(fed):
            self._paths.held[one.segment.slot] = len(one.target)
            one.row.search.hidden[one.row.key] = hidden_RD[decoding + k].clone()

    def _follow(self, deferred: Sequence[GenerationRequest], leads: Mapping[RowKey, int]) -> list[tuple[Row, int]]:
        """Start the siblings of the rows `leads`, which were fed just now: they draw from the same logits. Others
        wait on. Returns the new rows, each with its lead."""
        followers: list[tuple[Row, int]] = []
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
            followers.append((row, lead))
        for lead, slots in copies.items():
            known = int(self._rows.position[lead]) + 1
            self.runner.slots.copy(int(self._rows.slot[lead]), slots, known)
        self._queue.extendleft(reversed(waiting))
        return followers

    def _sample(self, logits_UV: torch.Tensor, source: np.ndarray) -> np.ndarray:
        """Draw one token for every row and write it down; returns which rows have broken logits."""
        rows, n = self._rows, self._rows.count
        order = np.argsort(source, kind="stable")
        draws = uniforms(rows.stream[:n], rows.index[:n])
        tokens, logprobs, bad = sample(
            logits_UV, source[order], rows.temperature[order], rows.top_p[order], rows.top_k[order], draws[order]
        )
        rows.token[order] = tokens
        rows.position[:n] += 1
        rows.index[:n] += np.uint64(1)
        rows.left[:n] -= 1
        self._paths.table[rows.slot[:n], rows.position[:n]] = rows.token[:n]
        self._logprobs[rows.slot[order], rows.position[order]] = logprobs
        rows.begins[:n] = False
        broken = np.zeros(n, dtype=np.bool_)
        broken[order] = bad
        return broken

    def _book(
        self,
        turn: Turn,
        fed: Sequence[_Fed],
        begun: Sequence[Row],
        scored: Scored,
        seconds: float,
        layout: Layout | None,
    ) -> None:
        """Divide the forward over its rows (see `local_cost.py`); rows `begun` were not fed, only sampled from."""
        rows, meter, decoding = self._rows, self._meter, turn.begun
        tokens = decoding + sum(one.segment.tokens for one in fed) + len(turn.behind_RH)
        heads = decoding + len(fed) + sum(row.account.head for row in begun)
        own = meter.attention_flops(layout.decode_pairs) if layout else 0
        behind = meter.attention_flops(layout.behind_pairs) if layout and len(turn.riders) else 0
        unit = meter.forward(tokens + len(begun), decoding, tokens, heads, seconds - scored.seconds, own)
        self._thinker.book(scored, unit, behind, meter)
        for one in fed:
            flops = meter.pricer.executed(0, one.segment.tokens * len(one.target), 0)
            one.row.account.begin(unit, one.segment.tokens, flops, meter.shares)
        for row in begun:
            row.account.begin(unit, 1, 0, meter.shares)
        members = np.concatenate([np.arange(decoding), [one.place for one in fed]]).astype(np.int64)
        rows.serial[members[np.unique(rows.search[members], return_index=True)[1]]] += 1

    def _let_go(self, broken: np.ndarray) -> None:
        """Look at the rows whose last token may end something; hand out those that are done."""
        rows, n = self._rows, self._rows.count
        look = self._tables[rows.marks[:n], rows.token[:n]] | (rows.left[:n] == 0) | broken
        # From the back: the row that fills a gap has been looked at.
        for i in np.flatnonzero(look)[::-1].tolist():
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

    def _read(self, readout: Readout, slot: int) -> tuple[float, ...]:
        """What the head reads off the hidden state that chose the slot's newest token."""
        return tuple(readout(self._hidden_UH[self._chose[slot], None])[0].tolist())

    def _finish(self, i: int, *, cancelled: bool = False) -> None:
        """Take row i out and hand its steps over; its slot keeps the path."""
        slot, serial = int(self._rows.slot[i]), int(self._rows.serial[i])
        row = self._rows.remove(i)
        row.segmenter.cut()
        self._paths.rest(slot)
        self._hand_over(row, row.segmenter.steps, serial, cancelled=cancelled)

    def _fail(self, i: int) -> None:
        """Row i's logits are not numbers: its slot is wiped, the others go on."""
        slot, serial = int(self._rows.slot[i]), int(self._rows.serial[i])
        position = int(self._rows.position[i])
        row = self._rows.remove(i)
        row.search.hidden.pop(row.key, None)
        row.search.thoughts.pop(row.key, None)
        self.runner.slots.clear(slot)
        self._paths.forget(slot)
        reason = f"the model's logits after {position} tokens are not numbers (NaN or infinite); try dtype='float32'"
        self._hand_over(row, (), serial, error=reason)

    def _hand_over(
        self, row: Row, steps: Iterable[Any], serial: int, *, error: str | None = None, cancelled: bool = False
    ) -> None:
        made = row.with_thoughts(steps) if row.thoughts else tuple(steps)
        sampled = sum(step.sampled for step in made)
        cost = self._meter.cost(row.account, sampled, row.search.most_held, serial)
        spent: dict[Role, Cost] = {"policy": cost}
        if row.thought_cost is not ZERO:
            spent["thought"] = row.thought_cost
        seconds = cost.seconds + row.thought_cost.seconds
        self._done.append(Generation(row.request.id, made, spent, seconds, error, cancelled))
