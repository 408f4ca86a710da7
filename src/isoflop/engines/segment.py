"""Tokens in, steps out: where steps end, where solutions end, what is thought and what is said.

Marks (step ends, stop strings, think marks) are found in bytes, so a character that is split over tokens and a mark
that is split over tokens are both right. A step holds whole tokens: it is cut after the token that completes its end.
A step of white space alone goes on. It is not a tokenizer: whoever feeds it knows the bytes of each token.

    segmenter = Segmenter(request, forced_pieces=[], tail=b"", end_tokens=frozenset({2}))
    segmenter.push([5, 6], [-0.1, -0.2], [b"x = 3", b"\\n"])      # True where the generation is complete
    segmenter.steps

Only the last token of a push may complete a mark; `completing` tells for each token of a vocabulary whether it could,
so that an engine need not look at the others one by one.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from isoflop.core import Channel, Step, StepEnd, Trajectory
from isoflop.engines.base import GenerationRequest, Until


def marks_of(request: GenerationRequest) -> tuple[bytes, ...]:
    """All strings that matter to a request, in bytes."""
    markers = request.parent.origin.prompt.markers
    stop = markers.stop if request.stop is None else request.stop
    if request.closing:
        return tuple(mark.encode() for mark in stop)
    return tuple(mark.encode() for mark in (*stop, *markers.step_end, *(markers.think or ())))


def completing(pieces: Sequence[bytes], marks: Sequence[bytes], end_tokens: frozenset[int]) -> npt.NDArray[np.bool_]:
    """For each token: may an occurrence of a mark end in it, or is it an end-of-sequence token?"""
    lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    blob = b"".join(pieces) + b"\0" * 64
    letters = np.frombuffer(blob, dtype=np.uint8)
    found = np.zeros(len(pieces), dtype=np.bool_)
    for mark in marks:
        # Inside one token ...
        hits = np.array([hit.start() for hit in re.finditer(b"(?=" + re.escape(mark) + b")", blob)], dtype=np.int64)
        hits = hits[hits < len(blob) - 64]
        owners = np.searchsorted(starts, hits, side="right") - 1
        found[owners[hits + len(mark) <= starts[owners] + lengths[owners]]] = True
        # ... or begun before it.
        for size in range(1, len(mark)):
            fits = lengths >= size
            for offset, letter in enumerate(mark[-size:]):
                fits &= letters[np.minimum(starts + offset, len(letters) - 1)] == letter
            found |= fits
    found[[token for token in end_tokens if token < len(pieces)]] = True
    return found


def tail_bytes(parent: Trajectory, pieces: Sequence[bytes], length: int) -> bytes:
    """The last bytes that `parent` wrote, at least `length` where there are so many; the prompt is not part of it."""
    found: list[bytes] = []
    size = 0
    node: Trajectory | None = parent
    while node is not None and node.step is not None and size < length:
        for token in reversed(node.step.tokens):
            found.append(pieces[token])
            size += len(found[-1])
            if size >= length:
                break
        node = node.parent
    return b"".join(reversed(found))


def look_back(request: GenerationRequest) -> int:
    """How many bytes before a request matter to it: an unfinished character, and the start of a stop string."""
    return max([3, *(len(mark) - 1 for mark in marks_of(request))])


class Segmenter:
    """The steps of one generation. `tail`: the last bytes before it (see `look_back`). A step ends with the token that
    was pushed last; `readouts` is asked then for what was read where that token was chosen."""

    def __init__(
        self,
        request: GenerationRequest,
        forced_pieces: Sequence[bytes],
        tail: bytes,
        end_tokens: frozenset[int],
        readouts: Callable[[], tuple[float, ...]] = tuple,
    ) -> None:
        markers = request.parent.origin.prompt.markers
        stop = markers.stop if request.stop is None else request.stop
        self.steps: list[Step] = []
        self.done = False
        self._request, self._end_tokens, self._readouts = request, end_tokens, readouts
        self._stop = [mark.encode() for mark in stop]
        self._step_end = [] if request.closing else [mark.encode() for mark in markers.step_end]
        think = None if request.closing else markers.think
        self._open, self._close = (think[0].encode(), think[1].encode()) if think else (b"", b"")
        self._thinking = _thinking(request)
        self._longest_stop = max(map(len, self._stop), default=1)
        self._carry = _unfinished(tail)
        self._tail = tail
        self._tokens = list(request.forced)
        self._pieces = list(forced_pieces)
        self._logprobs: list[float] = []
        self._forced = len(request.forced)
        self._channel = Channel.THINK if self._thinking else Channel.VISIBLE

    @property
    def at_start(self) -> bool:
        """Whether the next token is a step's first."""
        return not self._tokens

    def push(self, tokens: Sequence[int], logprobs: Sequence[float], pieces: Sequence[bytes]) -> bool:
        """Take sampled tokens, of which only the last may complete a mark. True where the generation is complete."""
        self._tokens += tokens
        self._logprobs += logprobs
        self._pieces += pieces
        if tokens[-1] in self._end_tokens:
            self._pieces[-1] = b""
            self._end(StepEnd.END, trailing=1)
            self.done = True
        else:
            self._look(b"".join(self._pieces[self._forced :]), len(pieces[-1]))
        return self.done

    def cut(self) -> None:
        """No more tokens: what is open ends here, in mid-step."""
        if self._tokens and not self.done:
            self._end(StepEnd.CAP)
        self.done = True

    def _look(self, sampled: bytes, new: int) -> None:
        """Act on the marks that the last `new` bytes of the step's sampled text complete."""
        before = self._tail if not self._forced else b""
        stop = self._find_stop(before + sampled, new)
        if stop is not None:
            self._stop_at(max(0, stop - len(before)))
            return
        ended = False
        if self._thinking and self._close and _find(sampled, self._close, new) >= 0:
            self._thinking, ended = False, True
            self.done = self._request.until is Until.THINK
        elif not self._thinking and self._open and (at := _find(sampled, self._open, new)) >= 0:
            self._thinking = True
            ended = bool(sampled[:at].strip() or self._forced)
            self._channel = self._channel if ended else Channel.THINK
        elif any(_find(sampled, mark, new) >= 0 for mark in self._step_end):
            written = b"".join(self._pieces)
            ended = bool((written.replace(self._open, b"", 1) if self._open else written).strip())
        if ended:
            self.done = self.done or self._request.until is Until.STEP
            self._end(StepEnd.DELIMITER)

    def _find_stop(self, text: bytes, new: int) -> int | None:
        found = [at for mark in self._stop if (at := _find(text, mark, new)) >= 0]
        return min(found, default=None)

    def _stop_at(self, start: int) -> None:
        """End before the stop string that begins at byte `start` of the sampled text."""
        size, trailing = sum(map(len, self._pieces[self._forced :])), 0
        while trailing < len(self._logprobs) and size - len(self._pieces[-1 - trailing]) >= start:
            size -= len(self._pieces[-1 - trailing])
            trailing += 1
        kept = b"".join(self._pieces[self._forced :])[:start]
        self._pieces = [*self._pieces[: self._forced], kept]
        self._end(StepEnd.END, trailing)
        self.done = True

    def _end(self, end: StepEnd, trailing: int = 0) -> None:
        """Close the step. An unfinished character at its end waits for the next step, unless there is none."""
        if self._request.closing:
            end = StepEnd.CLOSED
        written = b"".join(self._pieces)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(self._carry + written, final=end in (StepEnd.END, StepEnd.CLOSED))
        self._carry = decoder.getstate()[0]
        self._tail = (self._tail + written)[-max(3, self._longest_stop - 1) :]
        own = tuple(self._tokens), tuple(self._logprobs), self._forced, end, self._channel
        self.steps.append(Step(text, *own, readouts=self._readouts(), trailing=trailing))
        self._tokens, self._pieces, self._logprobs, self._forced = [], [], [], 0
        self._channel = Channel.THINK if self._thinking else Channel.VISIBLE


def _thinking(request: GenerationRequest) -> bool:
    """Whether the first sampled token is inside a think block: the forced text may have opened or closed it."""
    think = request.parent.origin.prompt.markers.think
    if think is None:
        return False
    opened, closed = request.forced_text.rfind(think[0]), request.forced_text.rfind(think[1])
    return request.parent.thinking if opened == closed else opened > closed


def _find(text: bytes, mark: bytes, new: int) -> int:
    """Where `mark` begins, if an occurrence ends within the last `new` bytes; else -1."""
    return text.find(mark, max(0, len(text) - new - len(mark) + 1))


def _unfinished(tail: bytes) -> bytes:
    """The bytes of a character that has begun but not ended at the end of `tail`."""
    for size in range(1, min(3, len(tail)) + 1):
        lead = tail[-size]
        if lead >= 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return tail[-size:] if size < needed else b""
        if lead < 0x80:
            return b""
    return b""
