"""The cached scorer: a tree costs only its new tokens. Same logits as `score_naive.py`, far fewer FLOPs.

The reward model has slots of its own on the runtime's runner. A passage goes on from the longest prefix that its search
has read before, in place where nothing else follows that prefix there, else from a copy; what a prefix gave at its
reads is remembered. Passages of one call go in waves: one that shares more with a passage of the wave than with what
is held waits for the next, so that nothing is read twice. Searches share forwards, and never prefixes: what a search
pays does not depend on its neighbours, unless memory runs out; then the least recently used slot is given up.

    scorer = cached_scorer(model, context_tokens=2048, memory_gb=2)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from isoflop.cost.ledger import Cost
from isoflop.errors import ModelError
from isoflop.rewards.encode import Passage
from isoflop.rewards.models import ScoringModel
from isoflop.rewards.score_naive import prices_of
from isoflop.rewards.scorer import Outlook, Reading, Scorer
from isoflop.runtime.attention import Segment
from isoflop.runtime.runner import Batch, Runner

Tokens = npt.NDArray[np.int32]
Logits = tuple[float, ...]
DEFAULT_CONTEXT_TOKENS = 2048
# Tokens of one forward, which bounds the memory of its activations; a longer passage goes alone.
FORWARD_TOKENS = 4096
MOST_SLOTS = 1024


@dataclass(eq=False, slots=True)
class _Search:
    """What is held for one search: its slots, what was read so far, and paths that were given up."""

    slots: list[int] = field(default_factory=list)
    known: dict[bytes, Logits] = field(default_factory=dict)
    evicted: list[Tokens] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Wanted:
    """A passage on its way: `keys` name its prefixes at its reads; its tokens from `start` on go through `slot`.

    Those from `new` on are read for the first time: the ones before were evicted.
    """

    place: int
    search: _Search
    tokens: Tokens
    reads: tuple[int, ...]
    keys: tuple[bytes, ...]
    slot: int = -1
    start: int = 0
    unread: tuple[int, ...] = ()  # which of the reads are not known
    new: int = 0


class CachedScorer(Scorer):
    """See the module. `forwards` counts forwards."""

    def __init__(self, model: ScoringModel, slots: int, slot_tokens: int) -> None:
        self.model = model
        self.prices = prices_of(model)
        self.runner = Runner(model, slots=slots, slot_tokens=slot_tokens)
        self.context_tokens = slot_tokens
        self.forwards = 0
        self._searches: dict[str, _Search] = {}
        self._table = np.zeros((slots, slot_tokens), dtype=np.int32)
        self._held = np.zeros(slots, dtype=np.int64)
        self._used = np.zeros(slots, dtype=np.int64)
        self._owner: list[_Search | None] = [None] * slots
        self._clock = 0

    def read(self, passages: Sequence[Passage], searches: Sequence[str]) -> list[Reading]:
        """Only what is not known is computed; a passage pays for what was computed on its behalf.

        A failure on the way forgets the searches: what was computed and told nobody is computed, and paid, anew.
        """
        try:
            return self._read(passages, searches)
        except BaseException:
            for search in set(searches):
                self.release(search)
            raise

    def _read(self, passages: Sequence[Passage], searches: Sequence[str]) -> list[Reading]:
        wanted = [self._wanted(i, *each) for i, each in enumerate(zip(passages, searches, strict=True))]
        nothing = [self.prices.cost(len(each.tokens), 0, 0) for each in wanted]
        costs = [(none, none) for none in nothing]
        waiting = wanted
        while waiting:
            wave, waiting = self._wave(waiting)
            for each in wave:
                costs[each.place] = self._costs(each, len(wave))
            self._forward(wave)
        readings = []
        for each, both in zip(wanted, costs, strict=True):
            logits = tuple(each.search.known[key] for key in each.keys)
            naive = self.prices.flops(0, len(each.tokens), len(each.reads))
            held = int(self._held[each.search.slots].sum()) * self.prices.pricer.kv_bytes_per_token
            spent, charged = (replace(cost, naive_flops=naive, kv_held_bytes=held) for cost in both)
            readings.append(Reading(logits, spent, charged))
        return readings

    def price(self, outlook: Outlook) -> int:
        """What is new, once; a passage of its own for each new step reads its tail again."""
        known, tail, prices = outlook.known, outlook.tail, self.prices
        start = known if outlook.scored else 0
        end = known + outlook.new + tail
        reads = outlook.new_steps + (0 if outlook.scored else outlook.steps)
        tails = max(0, reads - 1) * prices.flops(end - tail, tail, 0)
        return prices.flops(start, end - start, reads) + tails

    def release(self, search: str) -> None:
        """Give the search's slots back."""
        found = self._searches.pop(search, None)
        for slot in found.slots if found else ():
            self._owner[slot], self._held[slot], self._used[slot] = None, 0, 0

    def close(self) -> None:
        """Give the memory back."""
        self._searches.clear()
        self.runner.free()

    def _wanted(self, place: int, passage: Passage, search: str) -> _Wanted:
        tokens = np.array(passage.tokens, dtype=np.int32)
        digest, keys, start = hashlib.blake2b(digest_size=16), [], 0
        for read in passage.reads:
            digest.update(tokens[start : read + 1].tobytes())
            keys.append(digest.copy().digest())
            start = read + 1
        owner = self._searches.setdefault(search, _Search())
        return _Wanted(place, owner, tokens, passage.reads, tuple(keys))

    def _wave(self, waiting: Sequence[_Wanted]) -> tuple[list[_Wanted], list[_Wanted]]:
        """Passages that may share one forward, slots claimed and prefixes in place; and those that wait on."""
        wave: list[_Wanted] = []
        later: list[_Wanted] = []
        total = 0
        for each in waiting:
            each.unread = tuple(i for i, key in enumerate(each.keys) if key not in each.search.known)
            if not each.unread:
                continue
            source, common = self._longest(each)
            start = min(common, each.reads[each.unread[0]])
            kin = max((_common(each.tokens, other.tokens) for other in wave if other.search is each.search), default=0)
            full = wave and total + len(each.tokens) - start > FORWARD_TOKENS
            if kin > common or full or not self._claim(each, source, start, wave):
                later.append(each)
                continue
            total += len(each.tokens) - start
            wave.append(each)
        return wave, later

    def _longest(self, wanted: _Wanted) -> tuple[int | None, int]:
        """The search's slot with the longest common prefix, one that ends there if there is one."""
        if not wanted.search.slots:
            return None, 0
        slots = np.array(wanted.search.slots)
        lengths = np.minimum(self._held[slots], len(wanted.tokens))
        width = int(lengths.max())
        differs = self._table[slots, :width] != wanted.tokens[:width]
        common = np.minimum(np.where(differs.any(1), differs.argmax(1), width), lengths) if width else lengths
        best = int(np.argmax(2 * common + (self._held[slots] == common)))
        return (int(slots[best]), int(common[best])) if common[best] else (None, 0)

    def _claim(self, wanted: _Wanted, source: int | None, start: int, wave: Sequence[_Wanted]) -> bool:
        """A slot with the first `start` tokens in place; False where all slots are in this wave."""
        busy = {each.slot for each in wave}
        if source is not None and source not in busy and self._held[source] == start:
            slot = source
        else:
            taken = self._least_used(busy if source is None else busy | {source})
            # The slot to be given up may be the very one that holds the prefix: then it is cut back.
            taken = source if taken is None and source not in busy else taken
            if taken is None:
                return False
            slot = taken
            if slot != source and source is not None and start:
                self.runner.slots.copy(source, [slot], start)
            self._give_up(slot)
            wanted.search.slots.append(slot)
            self._owner[slot] = wanted.search
        seen = max((_common(wanted.tokens, old) for old in wanted.search.evicted), default=0)
        wanted.slot, wanted.start = slot, start
        wanted.new = max(start, min(seen, wanted.reads[wanted.unread[0]]))
        self._table[slot, : len(wanted.tokens)] = wanted.tokens
        self._held[slot] = start
        self._clock += 1
        self._used[slot] = self._clock
        return True

    def _least_used(self, busy: Set[int]) -> int | None:
        if len(busy) == len(self._used):
            return None
        used = self._used.copy()
        used[list(busy)] = np.iinfo(np.int64).max
        return int(used.argmin())

    def _give_up(self, slot: int) -> None:
        owner = self._owner[slot]
        if owner is not None:
            owner.slots.remove(slot)
            owner.evicted.append(self._table[slot, : self._held[slot]].copy())

    def _forward(self, wave: Sequence[_Wanted]) -> None:
        """Read the wave and remember what it says."""
        if not wave:
            return
        segments, pieces, places, begin = [], [], [], 0
        for each in wave:
            segments.append(Segment(each.slot, each.start, len(each.tokens) - each.start))
            pieces.append(each.tokens[each.start :].astype(np.int64))
            places += [begin + each.reads[i] - each.start for i in each.unread]
            begin += len(pieces[-1])
        advance = self.runner.step(Batch.of_segments(segments, pieces), at=np.array(places, dtype=np.int64))
        self.forwards += 1
        logits = iter(self.model.read(advance.hidden_RD).tolist())
        for each in wave:
            self._held[each.slot] = len(each.tokens)
            for i in each.unread:
                each.search.known[each.keys[i]] = tuple(next(logits))

    def _costs(self, each: _Wanted, rows: int) -> tuple[Cost, Cost]:
        """What was spent on a passage, and what it is charged."""
        length, reads = len(each.tokens), len(each.unread)
        spent = self.prices.cost(each.start, length - each.start, reads, rows=rows)
        charged = self.prices.cost(each.new, length - each.new, reads, rows=rows)
        return replace(spent, prompt_tokens=length - each.new, recomputed_tokens=each.new - each.start), charged


def cached_scorer(model: ScoringModel, *, context_tokens: int | None, memory_gb: float) -> CachedScorer:
    """As many slots as fit into the memory. Raises ModelError where not even one does."""
    longest = model.context_tokens
    tokens = min(DEFAULT_CONTEXT_TOKENS, longest) if context_tokens is None else context_tokens
    if tokens > longest:
        raise ModelError(f"context_tokens={tokens} is more than the reward model takes: {longest}")
    bytes_per_slot = tokens * prices_of(model).pricer.kv_bytes_per_token
    slots = min(MOST_SLOTS, int(memory_gb * 1e9) // bytes_per_slot)
    if slots < 1:
        raise ModelError(
            f"memory_gb={memory_gb}: one text of {tokens} tokens takes {bytes_per_slot / 1e9:.3g} GB of the reward "
            "model's keys and values; raise memory_gb or lower context_tokens"
        )
    try:
        return CachedScorer(model, slots, tokens)
    except ModelError as error:
        raise ModelError(f"this reward model's keys and values cannot be kept; give cached=False ({error})") from error


def _common(one: Tokens, other: Tokens) -> int:
    """Length of the common prefix."""
    size = min(len(one), len(other))
    differs = one[:size] != other[:size]
    return int(differs.argmax()) if differs.any() else size
