"""A proxy that spoils what passes through it, fault by fault, in the order given; what is not spoilt goes through.

    with FaultyProxy(server.url, ["drop", "429", "half"]) as proxy: ...      # then everything goes well

`drop` closes without an answer, `half` answers and closes in the middle, `hang` never answers, a number is a status
(`429:0.1` with Retry-After), `cut` ends a stream before its end. Lists of models always go through.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyProxy:
    """`passed` counts the POSTs that went through unspoilt, `faults` holds those still to come."""

    def __init__(self, target, faults=()):
        self.target, self.faults, self.passed = target, list(faults), 0
        self.lock, self.released = threading.Lock(), threading.Event()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Quiet(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else ""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(*self.upstream(None))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.proxy.next()
        if fault == "drop":
            self.close_connection = True
            return
        if fault == "hang":
            self.proxy.released.wait(30)
            self.close_connection = True
            return
        if fault and fault.split(":")[0].isdigit():
            status, _, after = fault.partition(":")
            self.answer(int(status), b'{"error": {"message": "spoilt"}}', {"Retry-After": after} if after else {})
            return
        status, data, kept = self.upstream(body)
        if fault in ("half", "cut"):
            self.answer(status, data, kept, keep=len(data) // 2)
            return
        with self.proxy.lock:
            self.proxy.passed += 1
        self.answer(status, data, kept)

    def upstream(self, body):
        headers = {"Content-Type": "application/json"}
        if self.headers.get("Authorization"):
            headers["Authorization"] = self.headers["Authorization"]
        request = urllib.request.Request(self.proxy.target + self.path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read(), {"Content-Type": reply.headers["Content-Type"]}
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), {}
        except OSError:
            return 502, b'{"error": "upstream is away"}', {}

    def answer(self, status, data, headers, keep=None):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", *(f"{k}: {v}" for k, v in headers.items())]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + data[:keep])
        self.close_connection = self.close_connection or keep is not None
