"""A pool of samples around an engine: a request that was answered before is answered at once, and costs nothing.

Searches share samples where they start from the same *prompt object* that was opened with `share`: the runner does so
for arms that only draw whole samples, and runs those one after another, so that who pays does not depend on timing. One
pool of n samples then gives every k <= n. A repeated sample keeps the seconds that it took when it was made.

    pool = Pool(engine)
    pool.share(prompt)                 # searches from this prompt share; all others pass through
    ...
    pool.drain()                       # what the search released last has paid for, to be stored
    pool.forget(prompt)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from isoflop.asking import Prompt
from isoflop.core import Step
from isoflop.engines.base import Engine, Generation, GenerationRequest, Until
from isoflop.engines.wrapped import Wrapped


@dataclass(frozen=True, slots=True)
class Sample:
    """A remembered generation; `key` names what was asked for."""

    key: str
    steps: tuple[Step, ...]
    seconds: float


class Pool(Wrapped):
    """See the module."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        # By id of the prompt object, which is kept alive beside its samples.
        self._shared: dict[int, tuple[Prompt, dict[str, Sample]]] = {}
        self._asked: dict[int, tuple[GenerationRequest, str]] = {}
        self._ready: list[Generation] = []
        self._paid: dict[str, list[Sample]] = {}
        self._drained: list[Sample] = []

    def share(self, prompt: Prompt, samples: Iterable[Sample] = ()) -> None:
        """Let searches from this prompt object share; `samples` are known already."""
        self._shared[id(prompt)] = (prompt, {sample.key: sample for sample in samples})

    def forget(self, prompt: Prompt) -> None:
        """Drop the samples of this prompt object."""
        self._shared.pop(id(prompt), None)

    def drain(self) -> list[Sample]:
        """The samples that the search released last was the first to ask for; a second call gives none."""
        drained, self._drained = self._drained, []
        return drained

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """Answer what is known; pass the rest on."""
        unknown: list[GenerationRequest] = []
        for request in requests:
            held = self._shared.get(id(request.parent.origin.prompt)) if _is_whole(request) else None
            if held is None:
                unknown.append(request)
                continue
            key = sample_key(request)
            sample = held[1].get(key)
            if sample is not None:
                self._ready.append(Generation(request.id, sample.steps, seconds=sample.seconds))
                continue
            self._asked[request.id] = (request, key)
            unknown.append(request)
        if unknown:
            self.inner.submit(unknown)

    def poll(self) -> list[Generation]:
        """What is known first, without a turn of the engine."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        done = self.inner.poll()
        if self._asked:
            for generation in done:
                asked = self._asked.pop(generation.id, None)
                if asked is not None and generation.error is None and not generation.cancelled:
                    self._remember(*asked, generation)
        return done

    def cancel(self, ids: Sequence[int]) -> None:
        """What is known comes back cancelled, too, without having cost anything."""
        wanted = set(ids)
        known = {generation.id for generation in self._ready} & wanted
        self._ready = [replace(one, steps=(), cancelled=True) if one.id in known else one for one in self._ready]
        self.inner.cancel([one for one in ids if one not in known])

    def release(self, search: str) -> None:
        """Note what the search has paid for, then let the engine forget it."""
        self._drained = self._paid.pop(search, [])
        self.inner.release(search)

    def _remember(self, request: GenerationRequest, key: str, generation: Generation) -> None:
        origin = request.parent.origin
        sample = Sample(key, generation.steps, generation.seconds)
        held = self._shared.get(id(origin.prompt))
        if held is not None:
            held[1][key] = sample
            self._paid.setdefault(origin.search, []).append(sample)


def sample_key(request: GenerationRequest) -> str:
    """The same for requests from one prompt that get the same tokens: stream, sampling values, caps, and the path."""
    drawn = (request.stream, request.temperature, request.top_p, request.top_k, request.max_tokens)
    forced = (request.forced, request.forced_text, request.stop, request.closing)
    path = [] if request.parent.step is None else request.parent.tokens
    return hashlib.blake2b(repr((drawn, forced, path)).encode("utf-8", "replace"), digest_size=12).hexdigest()


def _is_whole(request: GenerationRequest) -> bool:
    """A whole sample from the prompt, or the forced close of one."""
    return request.closing or (request.until is Until.END and request.parent.step is None)
