"""An attempt's two books: what was spent on it, and what it is charged.

`spent` is what the engine and the reward say they computed. `charged` is what the strategy takes when it runs alone:
every token of its tree read or made once, by the formula, whatever other arms left in a cache and whatever had to be
recomputed. Beside it stands `naive_flops`: every request reading its whole prefix again. Each operation enters each
book once, when it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate, pairwise

from isoflop.core import Trajectory
from isoflop.cost.ledger import Cost, Ledger, NodeCost, Role
from isoflop.engines.base import Engine, Generation


class Book:
    """Keeps both ledgers of one attempt. `new_tokens` and `flops` are the charged totals so far, for budgets."""

    def __init__(self, engine: Engine) -> None:
        self.spent = Ledger()
        self.flops = 0
        self.new_tokens = 0
        self._engine = engine
        self._charged = Ledger()
        self._read: set[int] = set()  # nodes after which the next token's distribution is known
        self._root_read = False
        self._serial_forwards = 0
        self._seconds = 0.0
        self._naive_flops = 0
        self._from_scratch: dict[int, int] = {}  # FLOPs of reading a prefix of that length; siblings share it
        self._thought: set[tuple[int, tuple[int, ...], int]] = set()  # thoughts that siblings share
        self._naive_thought_flops = 0
        self._serial_thoughts = 0

    def unread(self, parent: Trajectory, forced: int = 0) -> tuple[int, int]:
        """(cached tokens, known tokens that must be read) before a child of `parent` can be sampled."""
        if not forced and id(parent) in self._read:
            return parent.length, 0
        start = parent.length - 1 if self._root_read else 0
        return start, parent.length - start + forced

    def read(self, parent: Trajectory, forced: int = 0) -> NodeCost:
        """Charge that reading; siblings without forced tokens share it. Returns what it took."""
        start, tokens = self.unread(parent, forced)
        self._root_read = True
        if not forced:
            self._read.add(id(parent))
        flops = self._charge(self._engine.prefill_cost(start, tokens)) if tokens else 0
        return NodeCost(flops, 0, start, tokens)

    def made(self, generation: Generation, prefix: int, sampled: int) -> None:
        """Enter what a request made: `sampled` tokens behind `prefix` known ones, each but the last forwarded alone."""
        self.spent.charge_all(generation.spent)
        self._seconds += generation.seconds
        if sampled <= 0:
            return
        self._naive_flops += self._reading(prefix) + self._charge(self._engine.decode_cost(prefix, sampled - 1))
        self.new_tokens += sampled

    def thought(self, generation: Generation, parent: Trajectory, forced: tuple[int, ...]) -> int:
        """Enter the thoughts behind what a request made, each at its length; siblings share numbered ones. Returns how
        many forwards they took that nothing else rode in."""
        begin, waited = parent.length, 0
        for step in generation.steps:
            for one in step.thoughts:
                cost = self._engine.cost_of_thought(begin + one.at, one)
                self._naive_thought_flops += _flops(cost)
                key = None if one.number is None else (id(parent), forced, one.number)
                if key is None or key not in self._thought:
                    self._charge(cost)
                if key is not None:
                    self._thought.add(key)
            begin += len(step.tokens)
            waited += sum([one.waited for one in step.thoughts])
        return waited

    def scored(self, spent: Mapping[Role, Cost], charged: Mapping[Role, Cost]) -> int:
        """Enter what scoring took, and what it takes where nothing is read again after eviction: these FLOPs."""
        self.spent.charge_all(spent)
        return self._charge(charged)

    def waited(self, serial_forwards: int, for_thoughts: int = 0) -> None:
        """Requests made together wait for the longest one, not for their sum; so do their thoughts."""
        self._serial_forwards += serial_forwards
        self._serial_thoughts += for_thoughts

    def charged(self) -> dict[Role, Cost]:
        """The charged totals by role. The policy's seconds are its modelled share of shared work; its weights are read
        once a serial forward, whatever the width."""
        totals = self._charged.by_role()
        once = self._engine.decode_cost(0, 1)["policy"].weight_bytes if {"policy", "thought"} & set(totals) else 0
        if "policy" in totals:
            totals["policy"] = replace(
                totals["policy"],
                seconds=self._seconds,
                naive_flops=self._naive_flops,
                new_tokens=self.new_tokens,
                serial_forwards=self._serial_forwards,
                weight_bytes=once * self._serial_forwards,
            )
        if "thought" in totals:
            totals["thought"] = replace(
                totals["thought"],
                naive_flops=self._naive_thought_flops,
                serial_forwards=self._serial_thoughts,
                weight_bytes=once * self._serial_thoughts,
            )
        return totals

    def _reading(self, tokens: int) -> int:
        if tokens not in self._from_scratch:
            self._from_scratch[tokens] = _flops(self._engine.prefill_cost(0, tokens))
        return self._from_scratch[tokens]

    def _charge(self, costs: Mapping[Role, Cost]) -> int:
        self._charged.charge_all(costs)
        flops = _flops(costs)
        self.flops += flops
        return flops


def divided(reading: NodeCost, flops: int, generation: Generation) -> list[NodeCost]:
    """What one request's steps bear: the first one the reading, each its share of `flops` and seconds by tokens."""
    tokens = [len(step.tokens) for step in generation.steps]
    if len(tokens) == 1:
        return [replace(reading, flops=reading.flops + flops, seconds=generation.seconds)]
    total = sum(tokens) or 1
    ends = [0, *accumulate(tokens)]
    shares = [flops * end // total - flops * start // total for start, end in pairwise(ends)]
    return [
        NodeCost(
            share + (0 if place else reading.flops),
            0,
            reading.cached_tokens + (reading.read_tokens + ends[place] if place else 0),
            0 if place else reading.read_tokens,
            generation.seconds * own / total,
        )
        for place, (share, own) in enumerate(zip(shares, tokens, strict=True))
    ]


def _flops(costs: Mapping[Role, Cost]) -> int:
    return sum([cost.prefill_flops + cost.decode_flops for cost in costs.values()])
