"""Which slot holds which path: what a search has computed, where, and what goes when room is needed.

Prefixes are looked up within one search alone, so what a search spends never depends on its neighbours; with
`share_prompts` a search that holds nothing yet goes on from the longest beginning that any other holds. When no slot is
free, the least recently used idle one is given up; its tokens are remembered, so that computing them again is booked as
such. It holds no tensors of keys and values: `runtime/slots.py` does, and moves them.

    paths = Paths(slots=16, slot_tokens=2048)
    claim = paths.claim(search, target, ready=False)       # a Claim, or None where all slots are busy
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from isoflop.core import Trajectory

Tokens = npt.NDArray[np.int32]
# A search waits for another one's prompt only where that saves more than so many tokens.
WORTH_WAITING = 16


@dataclass(eq=False, slots=True)
class SearchPaths:
    """What is held for one search. `hidden` are final hidden states by (node, forced tokens): a return to a node needs
    no forward; `thoughts` are what was thought there, by number. `evicted`: the tokens of slots that were given up."""

    number: int
    slots: list[int] = field(default_factory=list)
    hidden: dict[tuple[Trajectory, tuple[int, ...]], Any] = field(default_factory=dict)
    thoughts: dict[tuple[Trajectory, tuple[int, ...]], dict[int, Any]] = field(default_factory=dict)
    tokens: dict[Trajectory, Tokens] = field(default_factory=dict)
    evicted: list[Tokens] = field(default_factory=list)
    most_held: int = 0
    released: bool = False

    def target(self, node: Trajectory, forced: tuple[int, ...]) -> Tokens:
        """The path of a node with known tokens behind it."""
        path = self.path(node)
        return np.concatenate([path, np.array(forced, dtype=np.int32)]) if forced else path

    def path(self, node: Trajectory) -> Tokens:
        """All tokens of a path, prompt included, as an array."""
        found = self.tokens.get(node)
        if found is None:
            if node.parent is None or node.step is None:
                found = np.array(node.origin.prompt_tokens, dtype=np.int32)
            else:
                found = np.concatenate([self.path(node.parent), np.array(node.step.tokens, dtype=np.int32)])
            self.tokens[node] = found
        return found


@dataclass(frozen=True, slots=True)
class Claim:
    """A slot for a path: its first `start` tokens are to be copied from `source` (None: they are there already), the
    others computed, `recomputed` of them for the second time."""

    slot: int
    source: int | None
    start: int
    recomputed: int


class Paths:
    """See the module. `held[slot]` tokens of `table[slot]` have keys and values; a live slot belongs to a sequence that
    is being generated and is never given up."""

    def __init__(self, slots: int, slot_tokens: int, *, share_prompts: bool = False) -> None:
        self.share_prompts = share_prompts
        self.table = np.zeros((slots, slot_tokens), dtype=np.int32)
        self.held = np.zeros(slots, dtype=np.int64)
        self.live = np.zeros(slots, dtype=np.bool_)
        self.searches: dict[str, SearchPaths] = {}
        self._owner: list[SearchPaths | None] = [None] * slots
        self._used = np.zeros(slots, dtype=np.int64)
        self._clock = 0
        self._free = list(range(slots))
        self._numbers = 0

    def search(self, name: str) -> SearchPaths:
        """What is held for the search of this name."""
        if name not in self.searches:
            self._numbers += 1
            self.searches[name] = SearchPaths(self._numbers)
        return self.searches[name]

    def longest(self, search: SearchPaths, target: Tokens) -> tuple[int | None, int]:
        """The slot of the search that shares the longest prefix with `target`, and its length; idle ones first. Where
        prompts are shared, and the search has no slot, that of any search."""
        slots = np.array(search.slots) if search.slots or not self.share_prompts else np.flatnonzero(self.held)
        if not len(slots):
            return None, 0
        lengths = np.minimum(self.held[slots], len(target))
        width = int(lengths.max())
        differs = self.table[slots, :width] != target[:width]
        common = np.where(differs.any(1), differs.argmax(1), width) if width else np.zeros(len(slots), dtype=np.int64)
        common = np.minimum(common, lengths)
        # Among equals: one that could be taken over as it is, rather than copied.
        whole = ~self.live[slots] & (self.held[slots] == common)
        best = int(np.argmax(common * 2 + whole))
        return int(slots[best]), int(common[best])

    def claim(self, search: SearchPaths, target: Tokens, *, ready: bool) -> Claim | None:
        """A live slot for `target`. `ready`: nothing but its last hidden state is needed, and that is known."""
        source, common = self.longest(search, target)
        start = common if ready and common == len(target) else min(common, len(target) - 1)
        whole = source is not None and not self.live[source] and self.held[source] == common
        if source is not None and whole and self._owner[source] is search:
            slot, copy_from = source, None
        else:
            taken = self._take()
            if taken is None:
                return None
            # The slot given up may be the very one that held the prefix.
            slot, copy_from = taken, None if taken == source or start == 0 else source
            self._own(search, slot)
        recomputed = max((common_prefix(old, target) for old in search.evicted), default=0) - start
        self.table[slot, : len(target)] = target
        self.held[slot] = start
        self.live[slot] = True
        return Claim(slot, copy_from, start, max(0, recomputed))

    def is_coming(self, search: SearchPaths, target: Tokens, others: Iterable[tuple[SearchPaths, Tokens]]) -> bool:
        """Whether one of `others`, which are being computed, will hold more of `target` than is held now."""
        own = [tokens for other, tokens in others if other is search]
        borrowed = [tokens for other, tokens in others] if self.share_prompts and not search.slots else []
        if not own and not borrowed:
            return False
        _, held = self.longest(search, target)
        gained = max((common_prefix(tokens, target) - held for tokens in own), default=0)
        return gained > 0 or any(common_prefix(tokens, target) > held + WORTH_WAITING for tokens in borrowed)

    def follow(self, search: SearchPaths, target: Tokens) -> int | None:
        """A live slot for a sibling of a live path whose tokens are `target`, all of which are to be copied."""
        slot = self._take()
        if slot is not None:
            self._own(search, slot)
            self.table[slot, : len(target)] = target
            self.held[slot] = len(target)
            self.live[slot] = True
        return slot

    def rest(self, slot: int) -> None:
        """The slot's sequence is done for now; its path stays until room is needed."""
        search = self._owner[slot]
        if search is None or search.released:
            self.forget(slot)
            return
        self.live[slot] = False
        self._clock += 1
        self._used[slot] = self._clock
        search.most_held = max(search.most_held, int(self.held[search.slots].sum()))

    def forget(self, slot: int) -> None:
        """Give a slot back, its contents worth nothing."""
        search = self._owner[slot]
        if search is not None:
            search.slots.remove(slot)
        self._owner[slot] = None
        self.live[slot] = False
        self.held[slot] = 0
        heapq.heappush(self._free, slot)

    def release(self, name: str) -> None:
        """Give back the slots of a search: idle ones now, live ones when they come to rest."""
        search = self.searches.pop(name, None)
        if search is None:
            return
        search.released = True
        for slot in [slot for slot in search.slots if not self.live[slot]]:
            self.forget(slot)

    def _own(self, search: SearchPaths, slot: int) -> None:
        search.slots.append(slot)
        self._owner[slot] = search

    def _take(self) -> int | None:
        """A free slot, the lowest first so that live ones stay close together; else the one least recently used."""
        if self._free:
            return heapq.heappop(self._free)
        idle = np.flatnonzero(~self.live)
        if not len(idle):
            return None
        slot = int(idle[np.argmin(self._used[idle])])
        owner = self._owner[slot]
        if owner is not None:
            _remember(owner.evicted, self.table[slot, : self.held[slot]].copy())
            owner.slots.remove(slot)
        self._owner[slot] = None
        return slot


def common_prefix(one: Tokens, other: Tokens) -> int:
    """Length of the common prefix."""
    size = min(len(one), len(other))
    differs = one[:size] != other[:size]
    return int(differs.argmax()) if differs.any() else size


def _remember(evicted: list[Tokens], tokens: Tokens) -> None:
    """Add a path, unless it or a longer one with the same beginning is there already."""
    if not any(common_prefix(old, tokens) == len(tokens) for old in evicted):
        evicted[:] = [old for old in evicted if common_prefix(old, tokens) < len(old)]
        evicted.append(tokens)
