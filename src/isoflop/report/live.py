"""The page of a run, live: what `isoflop watch` serves on this machine, while the study goes on, stops, and goes on.

    live = Live(folder); live.refresh()           # reads the run, says whether anything has changed
    app(live, "token")                            # an ASGI app; every path begins with the token

The run is only read, by a reader that is opened and closed each time: a study that is killed and started again never
notices, and neither does the page. Whoever does not know the token, or comes by another host name (DNS rebinding), gets
nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.errors import IsoflopError, MissingExtraError
from isoflop.report.budget import Prices
from isoflop.report.page import plotly_script, shell, zipped
from isoflop.report.page_data import Attempts, page_summary
from isoflop.report.problem_blobs import problem_data
from isoflop.report.table import Table, finite
from isoflop.studies.run import Run
from isoflop.studies.store import Store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
NEEDED = "watching needs the packages of the extra 'serve'; install them: pip install 'isoflop[report,serve]'"
_REST = 2.0  # of the time that reading took, at least, before it is read again: a large run is not read all the time
_SHORTEST_REST_SECONDS = 1.0


class Live:
    """What the page shows now. `version` grows whenever it changes; `trouble` says why it could not be read last."""

    def __init__(self, folder: Path, prices: Prices | None = None) -> None:
        self.folder, self.prices = folder, prices
        self.version = 0
        self.trouble = ""
        self.summary: dict[str, Any] = {}
        self._seen: object = None
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Read the run, if it has changed. A run that cannot be read just now keeps what was read before."""
        try:
            state = self._state()
            if state == self._seen:
                return False
            run = Run.open(self.folder)
            summary = finite(page_summary(run, Table.of(run), Attempts.of(run), self.prices))
            run.close()
        except IsoflopError as error:
            self.trouble = str(error)
            return False
        with self._lock:
            self.version += 1
            self.summary, self._seen, self.trouble = summary | {"version": self.version}, state, ""
        return True

    def problem(self, place: int) -> dict[str, Any]:
        """One problem with its trees, as it is stored now."""
        run = Run.open(self.folder)
        try:
            problem = run.problems[place]
            records = [record for record in run.attempts if record.problem.id == problem.id]
            arms = {label: each for each, label in enumerate(run.study.labels)}
            return finite(problem_data(problem, records, arms, trees=True))  # type: ignore[no-any-return]
        finally:
            run.close()

    def watch(self, stopping: threading.Event) -> None:
        """Refresh until told to stop."""
        while not stopping.is_set():
            started = time.monotonic()
            self.refresh()
            stopping.wait(max(_SHORTEST_REST_SECONDS, _REST * (time.monotonic() - started)))

    def _state(self) -> object:
        """What differs where the run has moved."""
        with Store.reader(self.folder) as store:
            sessions = [(session["id"], session["state"]) for session in store.sessions()]
            return store.finished(), sessions


def app(live: Live, token: str) -> Starlette:
    """The server's app: the page, its summary, its version, its problems. MissingExtraError without the extra."""
    try:
        from starlette.applications import Starlette
        from starlette.middleware.base import BaseHTTPMiddleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, JSONResponse
        from starlette.routing import Route
    except ImportError:
        raise MissingExtraError(NEEDED) from None
    chart = zipped(plotly_script())

    def page(request: Request) -> Response:
        config = {"live": True, "withoutTrees": 0}
        return HTMLResponse(shell(live.summary, config, {}, (), chart))

    def summary(request: Request) -> Response:
        return JSONResponse(live.summary)

    def version(request: Request) -> Response:
        return JSONResponse({"version": live.version, "trouble": live.trouble})

    def problem(request: Request) -> Response:
        try:
            return JSONResponse(live.problem(request.path_params["place"]))
        except (IndexError, IsoflopError) as error:
            return JSONResponse({"error": str(error)}, status_code=404)

    served = Starlette(
        routes=[
            Route(f"/{token}/", page),
            Route(f"/{token}/summary", summary),
            Route(f"/{token}/version", version),
            Route(f"/{token}/problem/{{place:int}}", problem),
        ]
    )
    served.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    served.add_middleware(BaseHTTPMiddleware, dispatch=_careful)
    return served


async def _careful(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
    """Nothing is kept by the browser, framed by another page, or told to one."""
    response = await respond(request)
    response.headers.update(
        {
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "frame-ancestors 'none'",
        }
    )
    return response
