"""The process behind `isoflop watch`: one thread reads the run, uvicorn serves `live.py` on 127.0.0.1 alone.

serve(folder, port=0, prices=None, say=print)       # says the address, returns at Ctrl-C
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from isoflop.errors import MissingExtraError, StoreError
from isoflop.report.budget import Prices
from isoflop.report.live import HOST, NEEDED, Live, app


def serve(folder: Path, port: int, prices: Prices | None, say: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises StoreError where there is no run or the port is taken."""
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError(NEEDED) from None
    live = Live(folder, prices)
    if not live.refresh():
        raise StoreError(live.trouble)
    token = secrets.token_urlsafe(24)
    listening = _listening(port)
    port = listening.getsockname()[1]
    stopping = threading.Event()
    reader = threading.Thread(target=live.watch, args=(stopping,), daemon=True)
    server = uvicorn.Server(uvicorn.Config(app(live, token), log_level="warning", server_header=False))
    reader.start()
    say(f"http://{HOST}:{port}/{token}/")
    try:
        server.run(sockets=[listening])
    finally:
        stopping.set()
        reader.join()
        listening.close()


def _listening(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
        found.listen()  # before the address is said: whoever comes early waits
    except OSError as error:
        found.close()
        raise StoreError(f"port {port} on {HOST} cannot be opened ({error.strerror}); choose another --port") from None
    return found
