"""The engine on a server: each request becomes a call or a few, all at once, and `poll` collects what is finished.

Prompts go as token ids where the server takes them, and every answer's count of prompt tokens is checked against our
own, so nothing is tokenized otherwise on the way. Answers are taken whole where the server shows every token up to the
string it stopped at; else they are streamed, cut here, and the connection is closed, which stops the server.

Only what was delivered is charged: by the server's own count of cached tokens where it tells, else as if it had read
the whole prefix. It opens nothing itself (`remote_open.py`) and repeats nothing itself (`http/client.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from isoflop.core import Step, StepEnd
from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import ZERO, Cost, Role
from isoflop.engines.base import Capabilities, Generation, GenerationRequest
from isoflop.engines.call_cost import call_cost
from isoflop.engines.draft import Draft
from isoflop.engines.local_text import Tokens
from isoflop.engines.model_engine import ModelEngine
from isoflop.engines.remote import Remote
from isoflop.engines.remote_asking import Asker
from isoflop.engines.remote_dialects import Dialect
from isoflop.engines.remote_replies import Reader, Usage, choice_of, usage_of
from isoflop.errors import EngineError
from isoflop.http.client import Client, Document, Meter
from isoflop.http.failures import Failure

WAIT_SECONDS = 0.1  # how long a poll waits for something to come back


class RemoteEngine(ModelEngine):
    """See the module. Make one with `open_remote`."""

    def __init__(
        self, spec: Remote, client: Client, tokens: Tokens, dialect: Dialect, pricer: Pricer, context_tokens: int
    ) -> None:
        super().__init__(tokens, pricer, context_tokens)
        self.capabilities = Capabilities(
            token_ids=dialect.ids_in and dialect.ids_out,
            continues=dialect.continues,
            repeatable=False,  # servers batch as they like, and their kernels depend on the batch
            logprobs=dialect.logprobs,
        )
        self.dialect, self._client = dialect, client
        self._asker, self._reader = Asker(spec, tokens, dialect), Reader(tokens)
        self._live: set[int] = set()
        self._cancelled: set[int] = set()
        self._ready: list[Generation] = []

    def submit(self, requests: Sequence[GenerationRequest]) -> None:
        """All go out at once, as many as the server is to be given."""
        works = {}
        for request in requests:
            draft = Draft(request, self.tokens, self.context_tokens)
            reply = self._without_asking(request, draft.refusal)
            if reply is None:
                works[request.id] = partial(self._write, draft)
            else:
                self._ready.append(reply)
        self._live.update(works)
        self._client.start(works)

    def poll(self) -> list[Generation]:
        """What is finished; waits a moment for the first. Raises EngineError where no request could be answered."""
        done, self._ready = self._ready, []
        for number, result in self._client.finished(0.0 if done else WAIT_SECONDS):
            done.append(self._generation(number, result))
        return done

    def cancel(self, ids: Sequence[int]) -> None:
        """Close their connections. What was finished meanwhile comes back cancelled, too."""
        wanted = self._live.intersection(ids)
        self._cancelled |= wanted
        self._client.cancel(sorted(wanted))
        self._ready = [replace(one, cancelled=True) if one.id in set(ids) else one for one in self._ready]

    def release(self, search: str) -> None:
        """Nothing is held: the server keeps its own cache of prefixes."""

    def close(self) -> None:
        """Break off what is still out."""
        self._client.close()

    def _without_asking(self, request: GenerationRequest, refusal: str | None) -> Generation | None:
        """The reply to what need not, or cannot, be asked."""
        if refusal is not None:
            return Generation(request.id, (), error=refusal)
        if request.top_k and self.dialect.all_tokens is None:
            return Generation(request.id, (), error=f"this server takes no top_k; the arm has top_k={request.top_k}")
        if self.dialect.continues or (request.parent.step is None and not request.forced):
            return None
        if request.closing:  # it cannot be made to answer, so it has not answered
            return Generation(request.id, (Step("", end=StepEnd.CLOSED),))
        return Generation(request.id, (), error="this server cannot go on from a partial solution")

    def _generation(self, number: int, result: Any) -> Generation:
        self._live.discard(number)
        cancelled = number in self._cancelled
        self._cancelled.discard(number)
        if isinstance(result, Failure) and not cancelled:
            raise EngineError(f"{result.message}. Finished attempts are stored; the same command goes on")
        if isinstance(result, Exception) and not isinstance(result, Failure):
            raise result
        if not isinstance(result, Generation):  # broken off before anything came
            return Generation(number, (), cancelled=True)
        return replace(result, cancelled=True, error=None) if cancelled else result

    async def _write(self, draft: Draft) -> Generation:
        """Call until the request is fulfilled."""
        written = _Written(self, draft)
        call = written.whole if self.dialect.whole else written.streamed
        try:
            while not written.draft.done:
                await call()
        except asyncio.CancelledError:
            return written.generation(cancelled=True)
        except Failure as failure:
            if failure.fatal:
                raise
            return written.generation(error=failure.message)
        return written.generation()


class _Written:
    """One request on its way: its draft, and what its calls took."""

    def __init__(self, engine: RemoteEngine, draft: Draft) -> None:
        self.engine, self.draft = engine, draft
        self.cost, self.seconds = ZERO, 0.0
        self._open: Callable[[], None] | None = None  # books the call that is out

    async def whole(self) -> None:
        """One call, answered at once."""
        engine, draft, meter = self.engine, self.draft, Meter()
        asker, client = engine._asker, engine._client
        expected = asker.prompt_tokens(draft)
        document = await client.post(asker.path, asker.body(draft), meter)
        choice, usage = choice_of(document), usage_of(document)
        made = engine._reader.read(choice)
        self._book(expected, usage, len(made), meter)
        self._check(expected, usage)
        for token in made:
            if draft.push(*token):
                return
        self._ended(choice, len(made))

    async def streamed(self) -> None:
        """One call whose tokens are taken as they come, until enough is written."""
        engine, meter = self.engine, Meter()
        asker, client = engine._asker, engine._client
        expected = asker.prompt_tokens(self.draft)
        state: dict[str, Any] = {}

        def begin() -> Callable[[Document], bool]:
            self.draft = Draft(self.draft.request, engine.tokens, engine.context_tokens)
            state.update(made=0, usage=Usage(), choice={})
            return take

        def take(event: Document) -> bool:
            usage = usage_of(event)
            if usage.prompt_tokens is not None:
                state["usage"] = usage
            choice = choice_of(event)
            if choice.get("finish_reason"):
                state["choice"] = choice
            for token in engine._reader.read(choice):
                state["made"] += 1
                if self.draft.push(*token):
                    return True
            return False

        self._open = lambda: self._book(expected, state["usage"], state["made"], meter)
        await client.stream(asker.path, asker.body(self.draft), begin, meter)
        self._close_book()
        self._check(expected, state["usage"])
        if not self.draft.done:
            self._ended(state["choice"], state["made"])

    def generation(self, *, cancelled: bool = False, error: str | None = None) -> Generation:
        """What came of it."""
        self._close_book()
        steps = self.draft.steps(logprobs=self.engine.dialect.logprobs)
        spent: dict[Role, Cost] = {} if self.cost is ZERO else {"policy": self.cost}
        return Generation(self.draft.request.id, () if error else steps, spent, self.seconds, error, cancelled)

    def _close_book(self) -> None:
        book, self._open = self._open, None
        if book is not None:
            book()

    def _book(self, expected: int, usage: Usage, made: int, meter: Meter) -> None:
        """Charge one call: what it read, less what the server had cached, and what it made."""
        new = max(made, usage.new_tokens or 0)
        if not new:
            return
        self.cost += call_cost(
            self.engine.pricer,
            read=usage.prompt_tokens or expected,
            cached=usage.cached_tokens or 0,
            new=new,
            rows=meter.neighbours,
            seconds=meter.seconds,
        )
        self.seconds += meter.seconds

    def _check(self, expected: int, usage: Usage) -> None:
        if usage.prompt_tokens not in (None, expected):
            raise Failure(self.engine._asker.drifted(expected, usage.prompt_tokens), fatal=True)

    def _ended(self, choice: Mapping[str, Any], made: int) -> None:
        """The server has stopped before enough was written: at a string, at the text's end, or for want of room."""
        reason = choice.get("finish_reason")
        if reason == "stop" and choice.get("stop_reason") is None:
            self.draft.end()
        elif reason == "length" and made:
            self.draft.left = 0
        elif reason != "stop" or not made:
            raise Failure(f"the server ended a generation for the reason {reason!r}, after {made} tokens")
