"""Calls to one server, many at once, in a thread of their own: whoever asks goes on and picks up what is finished.

A piece of work is a coroutine that makes calls through the client; it is started under a number, may be cancelled, and
comes back through `finished`, as what it returned or raised. Calls beyond `max_live` wait their turn. It knows nothing
of tokens or prompts.

    client = Client(Address("http://127.0.0.1:8000"))
    client.start({1: lambda: client.post("/v1/completions", {...})})
    client.finished(wait_seconds=0.1)        # [(1, {...})]
    client.close()
"""

from __future__ import annotations

import asyncio
import json
import queue
import random
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import httpx2

from isoflop.http.address import Address
from isoflop.http.failures import Failure, from_status

Work = Callable[[], Coroutine[Any, Any, Any]]
Document = dict[str, Any]
Told = TypeVar("Told")
CONNECT_SECONDS = 10.0
POOL_CALLS = 8  # through one pool of connections, which looks at all of its own whenever a call begins or ends
TRIES = 5  # of a call that the server breaks off; one that is away is tried until patience ends
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 20.0


class Client:
    """See the module. `root` is the server's address without `/v1`."""

    def __init__(self, address: Address) -> None:
        self.address, self.root = address, address.root
        self._key = address.key()
        self._pools = self._opened_pools()
        # A turn is a place in a pool; the one that was given back last has a connection that is open.
        self._turns: asyncio.LifoQueue[httpx2.AsyncClient] = asyncio.LifoQueue()
        for turn in range(address.max_live):
            self._turns.put_nowait(self._pools[turn % len(self._pools)])
        self._done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._open = 0  # started and not yet handed out
        self._share = _Share()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="isoflop-http", daemon=True)
        self._thread.start()

    def start(self, works: Mapping[int, Work]) -> None:
        """Start each work under its number."""
        self._open += len(works)
        self._loop.call_soon_threadsafe(self._begin, dict(works))

    def cancel(self, numbers: Sequence[int]) -> None:
        """Break off; the server sees the connection close and stops generating. Unknown numbers are passed over."""
        self._loop.call_soon_threadsafe(self._break_off, list(numbers))

    def finished(self, wait_seconds: float) -> list[tuple[int, Any]]:
        """What has come back: (number, what the work returned, or the Failure that it raised). Waits for the first."""
        found: list[tuple[int, Any]] = []
        with suppress(queue.Empty):
            if self._open:
                found.append(self._done.get(timeout=wait_seconds))
            while True:
                found.append(self._done.get_nowait())
        self._open -= len(found)
        return found

    def now(self, work: Coroutine[Any, Any, Told]) -> Told:
        """Run one work and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def get(self, path: str) -> Document:
        """A document."""
        return await self._patiently(lambda http: self._fetch(http, "GET", path, None), Meter())

    async def post(self, path: str, body: Document, meter: Meter | None = None) -> Document:
        """What the server answers to a document."""
        return await self._patiently(lambda http: self._fetch(http, "POST", path, body), meter or Meter())

    async def stream(
        self, path: str, body: Document, begin: Callable[[], Callable[[Document], bool]], meter: Meter | None = None
    ) -> None:
        """Give each event of the answer to what `begin` returns until that says True, then close the connection. A
        repeat begins anew: what was streamed before it counts for nothing."""

        async def once(http: httpx2.AsyncClient) -> None:
            take = begin()
            async with self._answer(http, "POST", path, body) as answer, aclosing(_events(answer)) as events:
                async for event in events:
                    if take(event):
                        return

        await self._patiently(once, meter or Meter())

    def close(self) -> None:
        """Break everything off; safe to call twice."""
        if self._loop.is_closed():
            return
        self.now(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pool in self._pools:
            await pool.aclose()

    def _opened_pools(self) -> list[httpx2.AsyncClient]:
        """Clients with a few connections each."""
        address, certificates = self.address, httpx2.create_ssl_context()
        return [
            httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
                timeout=httpx2.Timeout(address.timeout_seconds, connect=CONNECT_SECONDS, pool=None),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=POOL_CALLS),
                verify=certificates,
            )
            for _ in range(-(-address.max_live // POOL_CALLS))
        ]

    def _begin(self, works: dict[int, Work]) -> None:
        for number, work in works.items():
            task = self._tasks[number] = self._loop.create_task(work())
            task.add_done_callback(partial(self._hand_in, number))

    def _break_off(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in self._tasks:
                self._tasks[number].cancel()

    def _hand_in(self, number: int, task: asyncio.Task[Any]) -> None:
        """What a work came to; None where it was broken off before it began. Errors are raised by whoever polls."""
        del self._tasks[number]
        self._done.put((number, None if task.cancelled() else task.exception() or task.result()))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[httpx2.AsyncClient]:
        """One of the calls that may be out at once, and the client it goes through."""
        http = await self._turns.get()
        try:
            yield http
        finally:
            self._turns.put_nowait(http)

    async def _patiently(self, attempt: Callable[[httpx2.AsyncClient], Awaitable[Told]], meter: Meter) -> Told:
        """Try, and try again where that is safe, after growing waits with jitter or as long as the server says."""
        began, tries = time.monotonic(), 0
        while True:
            try:
                async with self._turn() as http:
                    with self._share.of(meter):
                        return await attempt(http)
            except Failure as failure:
                tries += 1
                wait = failure.wait_seconds
                if wait is None:
                    wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
                left = self.address.patience_seconds - (time.monotonic() - began) - wait
                if not failure.again or left < 0 or (tries >= TRIES and not failure.away):
                    raise _last(failure, tries, time.monotonic() - began) from None
            await asyncio.sleep(wait)

    async def _fetch(self, http: httpx2.AsyncClient, method: str, path: str, body: Document | None) -> Document:
        async with self._answer(http, method, path, body) as answer:
            text = await answer.aread()
        try:
            found = json.loads(text)
        except ValueError:
            raise Failure(f"{self.root}{path} answered what is no JSON: {text[:80]!r}", again=True) from None
        if not isinstance(found, dict):
            raise Failure(f"{self.root}{path} answered a JSON {type(found).__name__}, not an object")
        return found

    @asynccontextmanager
    async def _answer(
        self, http: httpx2.AsyncClient, method: str, path: str, body: Document | None
    ) -> AsyncIterator[httpx2.Response]:
        """The server's answer, read as it comes; errors told as Failures."""
        where = f"{self.root}{path}"
        try:
            async with http.stream(method, where, json=body) as answer:
                if answer.status_code != 200:
                    said = (await answer.aread()).decode(errors="replace")
                    raise from_status(where, answer.status_code, answer.headers, self._blotted(said))
                yield answer
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Failure(f"{where} cannot be reached ({error})", again=True, away=True, fatal=True) from None
        except httpx2.TimeoutException:
            raise Failure(
                f"{where} took longer than timeout_seconds={self.address.timeout_seconds:g}; it is not asked again, as "
                "that would favour short answers. Raise timeout_seconds or lower max_live, then run with --retry-errors"
            ) from None
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Failure(f"{where} broke off ({reason})", again=True) from None
        except httpx2.HTTPError as error:
            raise Failure(f"{where}: {self._blotted(str(error))}") from None

    def _blotted(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


@dataclass(slots=True)
class Meter:
    """What calls took: `seconds` is their share of the server's busy time, `elapsed_seconds` the time they were out."""

    seconds: float = 0.0
    elapsed_seconds: float = 0.0

    @property
    def neighbours(self) -> int:
        """How many calls were out at once on average, these included."""
        return max(1, round(self.elapsed_seconds / self.seconds)) if self.seconds else 1


class _Share:
    """The seconds in which the server was at work, divided evenly over the calls that were out."""

    def __init__(self) -> None:
        self._live = 0
        self._each = 0.0  # what a call that was out since the beginning would have got
        self._since = time.perf_counter()

    @contextmanager
    def of(self, meter: Meter) -> Iterator[None]:
        """Meter one call."""
        before, began = self._advance(+1), self._since
        try:
            yield
        finally:
            meter.seconds += self._advance(-1) - before
            meter.elapsed_seconds += self._since - began

    def _advance(self, change: int) -> float:
        now = time.perf_counter()
        if self._live:
            self._each += (now - self._since) / self._live
        self._since, self._live = now, self._live + change
        return self._each


async def _events(answer: httpx2.Response) -> AsyncGenerator[Document, None]:
    """The documents of a stream of server-sent events, up to `[DONE]`; a stream that ends before is broken."""
    async for line in answer.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        try:
            event = json.loads(data)
        except ValueError:
            raise Failure(f"{answer.url} sent half an event: {data[:80]!r}", again=True) from None
        if "error" in event:
            raise Failure(f"{answer.url} broke off: {str(event['error'])[:300]}", again=True)
        yield event
    raise Failure(f"{answer.url} broke off before its stream was done", again=True)


def _last(failure: Failure, tries: int, seconds: float) -> Failure:
    """The failure that remains, saying how often it was met."""
    if tries == 1:
        return failure
    message = f"{failure.message} ({tries} tries in {seconds:.0f} s)"
    return Failure(message, fatal=failure.fatal or failure.away, status=failure.status)
