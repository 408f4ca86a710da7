"""What the stand-ins of real servers share: HTTP on a free port in a thread of this process, gone at the end of `with`.

class Echo(SmallServer):
    def __init__(self): super().__init__(EchoHandler)

class EchoHandler(SmallHandler):                   # `self.home` is the Echo
    def do_POST(self): self.send(200, self.document())
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class SmallServer:
    """It answers from the moment it is made, so whoever builds on it calls `super().__init__` last."""

    def __init__(self, handler, port=0):
        self._server = _Quiet(("127.0.0.1", port), type("Handler", (handler,), {"home": self}))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that hangs up is nothing to report."""


class SmallHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Nothing is logged."""

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def document(self):
        return json.loads(self.body())

    def send(self, status, document, headers=None):
        self.send_bytes(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_bytes(self, status, data, headers, keep=None):
        """`keep`: how many bytes are sent of those that are promised; then the connection is closed."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", *(f"{k}: {v}" for k, v in headers.items())]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + data[:keep])
        self.close_connection = self.close_connection or keep is not None
