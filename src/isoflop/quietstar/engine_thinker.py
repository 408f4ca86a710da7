"""What thinks inside the local engine: all thoughts of a poll together, in the spare tokens of the sequences' slots.

A thought's rows stand behind its sequence's newest token, each in a block of the forward, and are overwritten by the
next visible token. The start vector rides with the newest token where it is known beforehand that there will be a
thought; the end vector with the thought's last token. It is not a scheduler: who is live is the engine's business.

    thinker = QuietThinker(runner, pieces, pricer, parameters, config, spec)

Zelikman et al. 2024 (arXiv 2403.09629). Legend: U rows of logits, R riders, L thoughts that begin
late, F fresh thoughts, M all thoughts of the poll, N sampled tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost
from isoflop.engines.base import GenerationRequest
from isoflop.engines.local_cost import Meter, Shares
from isoflop.engines.local_rows import Row, Rows
from isoflop.engines.local_thinker import NOBODY, Drawn, Plan, Thinker, Turn, draw_all, newest
from isoflop.quietstar.config import ThoughtConfig
from isoflop.quietstar.cost import ThinkingCosts
from isoflop.quietstar.engine import QuietStar, gate_of
from isoflop.quietstar.engine_model import NUMBER_STRIDE, EngineModel
from isoflop.quietstar.head import GateHead, ThoughtParameters
from isoflop.randomness import stream_key
from isoflop.runtime.attention import Block, Ints, Layout
from isoflop.runtime.runner import Batch, Runner
from isoflop.runtime.sampling import likeliest
from isoflop.thought import Thought


@dataclass(frozen=True, slots=True)
class Mixed:
    """What a thought came to: the mixed hidden state [H], and what is told of it."""

    hidden_H: torch.Tensor
    thought: Thought


@dataclass(slots=True)
class Mind:
    """A thought that row `place` needs; `number` where its siblings share it, `found` once it is known."""

    place: int
    number: int | None
    found: Mixed | None


class Thinking:
    """The forwards of one poll's fresh thoughts, after the one that the newest tokens are in, and what they took."""

    def __init__(self, runner: Runner, pricer: Pricer, rode: list[bool]) -> None:
        self.runner, self.pricer, self.rode, self.count = runner, pricer, rode, len(rode)
        self.layouts: list[Layout] = []
        self.weight_bytes = 0

    def step(self, blocks: tuple[Block, ...]) -> torch.Tensor:
        """Run blocks of rows; the last block's hidden states."""
        advance = self.runner.step(Batch.of_blocks(blocks))
        self.layouts.append(advance.layout)
        self.weight_bytes += self.pricer.weight_bytes(len(advance.hidden_RD), 1)
        return advance.hidden_RD[-len(blocks[-1].slots) :]

    def pairs(self, window: int | None) -> int:
        """Query-key pairs that one layer of this window multiplied."""
        return sum(layout.behind_pairs(window) for layout in self.layouts)


@dataclass(frozen=True, slots=True)
class Work:
    """Who thought in a poll, the fresh ones first, and their forwards."""

    minds: list[Mind]
    thinking: Thinking | None


@final
class QuietThinker(Thinker):
    """See the module."""

    def __init__(
        self,
        runner: Runner,
        pieces: Sequence[bytes],
        pricer: Pricer,
        parameters: ThoughtParameters,
        config: ThoughtConfig,
        spec: QuietStar,
        gate_head: GateHead | None = None,
    ) -> None:
        self.spare_tokens = config.inputs
        self._model = EngineModel(runner, pieces, parameters, config, sampled=spec.thoughts == "sampled")
        self._config, self._spec = config, spec
        self._gate, self._gate_head = gate_of(spec.think), gate_head
        self.costs = costs = ThinkingCosts(pricer, config.n_ahead, rides=self._gate is None)
        self._prices, self._waited = costs.prices, costs.waited
        self._first = [self._model.start, self._model.end] if config.inputs == 2 else [self._model.start]

    def plan(self, rows: Rows, decoding: int, fed: Ints) -> Plan:
        """The newest tokens; behind those that will think whatever their logits, and whose thought is not known, what
        of it is known beforehand: its start, and the end of one without tokens."""
        plain = newest(rows, decoding)
        riders = self._riders(rows, np.concatenate([plain.places, fed]))
        if not len(riders):
            return plain
        behind = self._blocks(rows.slot[riders], rows.position[riders], 1, self._first)
        return replace(plain, riders=riders, behind=behind)

    def _riders(self, rows: Rows, places: Ints) -> Ints:
        if self._gate is not None:
            return NOBODY
        places = self._worth_it(rows, places)
        known = [self._recall(rows, place, self._number(rows, place)) is not None for place in places.tolist()]
        places = places[~np.array(known, dtype=np.bool_)]
        return places[np.argsort(rows.slot[places])]

    def draw(self, turn: Turn) -> Drawn:
        """From plain logits, and from mixed ones for the rows that think."""
        scored_rows = len(turn.hidden_UH)
        first = self._config.sampled_tokens and len(turn.plan.riders)
        hidden = torch.cat([turn.hidden_UH, turn.behind_RH]) if first else turn.hidden_UH
        logits = self._model.logits(hidden)
        plain_UV = logits[:scored_rows]
        began = time.perf_counter()
        places = self._who(turn, plain_UV)
        if not len(places):
            return draw_all(turn, plain_UV, turn.source)
        minds, which = self._minds(turn, places)
        fresh = [mind for mind in minds if mind.found is None]
        recalled = [mind.found.hidden_H[None] for mind in minds if mind.found is not None]
        thinking, mixed_FH, made = self._think(turn, fresh, logits[scored_rows:]) if fresh else (None, hidden[:0], [])
        mixed_MV = self._model.logits(torch.cat([mixed_FH, *recalled]))
        self._remember(turn, fresh, mixed_FH, made, plain_UV, mixed_MV)
        for place, mind in zip(places.tolist(), which, strict=True):
            found = minds[mind].found
            assert found is not None
            turn.rows.rows[place].thoughts.append((int(turn.rows.position[place]) + 1, found.thought))
        source = turn.source.copy()
        everyone = len(places) == len(source)
        source[places] = which + (0 if everyone else scored_rows)
        logits_UV = mixed_MV if everyone else torch.cat([plain_UV, mixed_MV])
        return draw_all(turn, logits_UV, source, time.perf_counter() - began, Work(minds, thinking))

    def book(self, turn: Turn, drawn: Drawn, unit: Shares, behind_flops: int, meter: Meter) -> None:
        """Each fresh thought at the row that it was made for; a recalled one takes its logits alone."""
        work: Work | None = drawn.work
        if work is None:
            return
        thinking, pricer = work.thinking, self._prices.pricer
        rows, searches = turn.rows, turn.rows.search[[mind.place for mind in work.minds]].tolist()
        fresh = thinking.count if thinking else 0
        for index, mind in enumerate(work.minds):
            row = rows.rows[mind.place]
            if thinking is None or index >= fresh:
                row.thought_cost += Cost(
                    decode_flops=pricer.flops_per_logits,
                    executed_flops=pricer.flops_per_logits,
                    seconds=0.0 if fresh else drawn.seconds / len(work.minds),
                )
                continue
            rides = thinking.rode[index]
            rode = len(self._first) if rides else 0
            # The token is drawn by now: where it stands is how many went before.
            cost = self._prices.cost(int(rows.position[mind.place]), rides=rides)
            attention = meter.attention_flops(thinking.pairs) / fresh + (
                behind_flops / len(turn.plan.riders) if rides else 0
            )
            row.thought_cost += replace(
                cost,
                executed_flops=self._prices.matrix_flops + round(attention),
                weight_bytes=round(thinking.weight_bytes / fresh + unit.weight_bytes * rode),
                serial_forwards=len(thinking.layouts) if searches.index(searches[index]) == index else 0,
                kv_held_bytes=searches[:fresh].count(searches[index]) * self.spare_tokens * pricer.kv_bytes_per_token,
                seconds=drawn.seconds / fresh + unit.seconds * rode,
            )

    def refusal(self, request: GenerationRequest) -> str | None:
        """See `EngineModel`; and the oracle has to know something."""
        problem = request.parent.origin.problem
        if self._spec.think == "oracle" and "hidden" not in problem.meta:
            return (
                f"think='oracle': problem {problem.id!r} does not say behind which steps operations are hidden "
                "(those of hiddenops do); use think='boundary' or a gate"
            )
        return self._model.refusal(request)

    def _who(self, turn: Turn, plain_UV: torch.Tensor) -> Ints:
        """The rows whose next token is thought about."""
        rows, count = turn.rows, len(turn.source)
        if self._gate is not None:
            if self._gate_head is not None:
                number_U = self._gate_head(turn.hidden_UH)
            else:
                number_U = torch.special.entr(plain_UV.float().softmax(-1)).sum(-1)
            return np.flatnonzero(number_U.cpu().numpy()[turn.source] > self._gate.threshold)
        return self._worth_it(rows, np.arange(count))

    def _worth_it(self, rows: Rows, places: Ints) -> Ints:
        """Of these rows those whose next token is thought about, by a rule that needs no logits."""
        if self._spec.think == "always":
            return places
        places = places[rows.begins[places]]
        if self._spec.think == "oracle":
            worth_it = [_hides_operations(rows.rows[place]) for place in places.tolist()]
            places = places[np.array(worth_it, dtype=np.bool_)]
        return places

    def _number(self, rows: Rows, place: int) -> int | None:
        """Which of its node's shared thoughts a row uses before its first token; None for a thought of its own."""
        row = rows.rows[place]
        if rows.position[place] + 1 != row.request.parent.length + len(row.request.forced):
            return None
        if self._spec.thoughts == "greedy":
            return 0
        shared = self._spec.thoughts_per_node
        return None if shared is None else row.request.child % shared

    def _recall(self, rows: Rows, place: int, number: int | None) -> Mixed | None:
        row = rows.rows[place]
        return None if number is None else row.search.thoughts.get(row.key, {}).get(number)

    def _minds(self, turn: Turn, places: Ints) -> tuple[list[Mind], Ints]:
        """The thoughts that the rows need, each once, fresh ones first and in the order of their slots; and which of
        them each row uses."""
        rows, of = turn.rows, []
        needed: dict[tuple[int, int | None, int], Mind] = {}
        for place in places.tolist():
            number = self._number(rows, place)
            of.append((int(turn.source[place]), number, -1 if number is not None else place))
            if of[-1] not in needed:
                needed[of[-1]] = Mind(place, number, self._recall(rows, place, number))
        order = sorted(needed, key=lambda key: (needed[key].found is not None, rows.slot[needed[key].place]))
        rank = {key: index for index, key in enumerate(order)}
        return [needed[key] for key in order], np.array([rank[key] for key in of], dtype=np.int64)

    def _think(
        self, turn: Turn, fresh: list[Mind], start_RV: torch.Tensor
    ) -> tuple[Thinking, torch.Tensor, list[tuple[list[int], float]]]:
        """All fresh thoughts side by side, from the start to the mixture: mixed hidden states, tokens and weights."""
        rows, sampled, device = turn.rows, self._config.sampled_tokens, turn.hidden_UH.device
        places = np.array([mind.place for mind in fresh], dtype=np.int64)
        slots, anchors = rows.slot[places], rows.position[places]
        rider = {place: index for index, place in enumerate(turn.plan.riders.tolist())}
        thinking = Thinking(self._model.runner, self._prices.pricer, [place in rider for place in places.tolist()])
        # Of what begins a thought, some rode; the rest is begun now.
        late = np.flatnonzero(~np.array(thinking.rode))
        begun_RH = turn.behind_RH[len(turn.behind_RH) - len(rider) :]
        if len(late):
            late_LH = thinking.step(self._blocks(slots[late], anchors[late], 1, self._first))
            late_LV = self._model.logits(late_LH) if sampled else start_RV
            start_RV = torch.cat([start_RV, late_LV]) if rider else late_LV
            begun_RH = torch.cat([begun_RH, late_LH]) if rider else late_LH
        behind = iter(range(len(rider), len(begun_RH)))
        at = torch.tensor([rider[p] if p in rider else next(behind) for p in places.tolist()], device=device)
        end_FH, tokens_FN = begun_RH[at], np.zeros((len(fresh), sampled), dtype=np.int64)
        logits_FV = start_RV[at] if sampled else start_RV
        for step in range(sampled):
            tokens_FN[:, step] = self._choose(rows, fresh, logits_FV, step)
            last = step == sampled - 1
            end_FH = thinking.step(
                self._blocks(slots, anchors, step + 2, [tokens_FN[:, step], *([self._model.end] if last else [])])
            )
            if not last:
                logits_FV = self._model.logits(end_FH)
        base_FH = turn.hidden_UH[torch.from_numpy(turn.source[places]).to(device)]
        mixed_FH, weight_F = self._model.mix(base_FH, end_FH)
        return thinking, mixed_FH, list(zip(tokens_FN.tolist(), weight_F.tolist(), strict=True))

    def _choose(self, rows: Rows, fresh: list[Mind], logits_FV: torch.Tensor, step: int) -> Ints:
        """The next token of each thought."""
        places = np.array([mind.place for mind in fresh])
        keys, steps = rows.stream[places], np.full(len(fresh), step)
        for index, mind in enumerate(fresh):
            if mind.number is not None:
                parent = rows.rows[mind.place].request.parent
                keys[index] = stream_key(parent.origin.seed, parent.origin.problem.id, parent.path)
                steps[index] += mind.number * NUMBER_STRIDE
        return self._model.choose(logits_FV, keys, rows.index[places], steps)

    def _remember(
        self,
        turn: Turn,
        fresh: list[Mind],
        mixed_FH: torch.Tensor,
        made: list[tuple[list[int], float]],
        plain_UV: torch.Tensor,
        mixed_MV: torch.Tensor,
    ) -> None:
        """Note what the fresh thoughts came to; those that siblings share stay with the node."""
        plain, mixed = likeliest(plain_UV).tolist(), likeliest(mixed_MV[: len(fresh)]).tolist()
        for index, mind in enumerate(fresh):
            row, (tokens, weight) = turn.rows.rows[mind.place], made[index]
            best = plain[int(turn.source[mind.place])]
            texts = self._model.text(tokens), self._model.text([best]), self._model.text([mixed[index]])
            thought = Thought(0, tuple(tokens), texts[0], weight, texts[1], texts[2], mind.number, self._waited)
            mind.found = Mixed(mixed_FH[index], thought)
            if mind.number is not None:
                row.search.thoughts.setdefault(row.key, {})[mind.number] = Mixed(mixed_FH[index].clone(), thought)

    def _blocks(self, slots: Ints, anchors: Ints, depth: int, ids: Sequence[int | Ints]) -> tuple[Block, ...]:
        """Rows `depth`, `depth` + 1 ... of the thoughts behind these anchors."""
        return tuple(
            Block(slots, anchors + depth + k, np.broadcast_to(np.asarray(one, dtype=np.int64), slots.shape), anchors)
            for k, one in enumerate(ids)
        )


def _hides_operations(row: Row) -> bool:
    """Whether the step that the row begins says a result of two operations or more, by the problem's own account."""
    parent = row.request.parent
    hidden = parent.origin.problem.meta["hidden"]
    step = parent.depth + len(row.segmenter.steps)  # the first step has no result to say
    return 1 <= step <= len(hidden) and bool(hidden[step - 1])
