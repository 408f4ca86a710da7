"""One request while a server writes it: what is known, what may still come, where to stop, the steps so far.

A server stops at strings, and may stop where no step has ended (a blank line before the first word); whoever drives it
then goes on with another call until `done`. Shared by the engines that do not draw tokens themselves.

    draft = Draft(request, tokens, context_tokens=2048)
    while not draft.done:
        for token, logprob in call(draft.path, draft.stops, draft.left, draft.seed): draft.push(token, logprob)
    draft.steps()
"""

from __future__ import annotations

import math
from dataclasses import replace

from isoflop.core import Step
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local_text import Tokens
from isoflop.engines.segment import Segmenter, look_back, tail_bytes
from isoflop.randomness import uniform

SEEDS = 2**31  # what every server takes


class Draft:
    """`refusal` says why the request cannot be begun. `path` are all tokens so far, `left` how many may still come."""

    def __init__(self, request: GenerationRequest, tokens: Tokens, context_tokens: int) -> None:
        pieces = tokens.pieces
        self.request, self._tokens = request, tokens
        self.path = [*request.parent.tokens, *request.forced]
        self.left = min(request.max_tokens, context_tokens - len(self.path))
        self.refusal: str | None = None
        if not self.path:
            self.refusal = "the prompt is empty: there is no token to start from"
        elif self.left < 1:
            self.refusal = (
                f"the prompt and solution have {len(self.path)} tokens, which leaves no room in the server's context "
                f"of {context_tokens}; start it with a longer one or shorten the prompt"
            )
        forced = [pieces[token] for token in request.forced]
        tail = tail_bytes(request.parent, pieces, look_back(request))
        self._segmenter = Segmenter(request, forced, tail, tokens.end_tokens)
        self._index = request.parent.num_tokens + len(request.forced)

    @property
    def done(self) -> bool:
        """Nothing more is wanted."""
        return self._segmenter.done or self.left < 1

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings at which the server may stop; none is empty."""
        request, markers = self.request, self.request.parent.origin.prompt.markers
        found = list(markers.stop if request.stop is None else request.stop)
        think = markers.think or ()
        if not request.closing and request.until is Until.STEP:
            found += [*markers.step_end, *think]
        elif not request.closing and request.until is Until.THINK:
            found += think[1:]
        return tuple(dict.fromkeys(mark for mark in found if mark))

    @property
    def seed(self) -> int:
        """The seed of the next call: a function of the stream and of how far the text is."""
        return int(uniform(self.request.stream, self._index) * SEEDS)

    def push(self, token: int, logprob: float = math.nan, piece: bytes | None = None) -> bool:
        """Take one sampled token. True where no more is wanted: what the server made beyond is dropped."""
        self.path.append(token)
        self._index += 1
        self.left -= 1
        self._segmenter.push([token], [logprob], [self._tokens.pieces[token] if piece is None else piece])
        return self.done

    def end(self) -> None:
        """The server has ended the text by itself and shows no token for that: there was one."""
        if not self.done:
            self.push(min(self._tokens.end_tokens), piece=b"")

    def steps(self, *, logprobs: bool = True) -> tuple[Step, ...]:
        """The steps; what is open is cut."""
        self._segmenter.cut()
        steps = tuple(self._segmenter.steps)
        return steps if logprobs else tuple(replace(step, logprobs=()) for step in steps)
