"""A proxy that spoils what passes through it, fault by fault, in the order given; what is not spoilt goes through.

    with FaultyProxy(server.url, ["drop", "429", "half"]) as proxy: ...      # then everything goes well

`drop` closes without an answer, `half` answers and closes in the middle, `hang` never answers, a number is a status
(`429:0.1` with Retry-After), `cut` ends a stream before its end. Lists of models always go through.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

from small_server import SmallHandler, SmallServer


class FaultyProxy(SmallServer):
    """`passed` counts the POSTs that went through unspoilt, `faults` holds those still to come."""

    def __init__(self, target, faults=()):
        self.target, self.faults, self.passed = target, list(faults), 0
        self.lock, self.released = threading.Lock(), threading.Event()
        super().__init__(_Handler)

    def close(self):
        self.released.set()
        super().close()

    def next(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else ""


class _Handler(SmallHandler):
    def do_GET(self):
        self.send_bytes(*self.upstream(None))

    def do_POST(self):
        body = self.body()
        fault = self.home.next()
        if fault == "drop":
            self.close_connection = True
            return
        if fault == "hang":
            self.home.released.wait(30)
            self.close_connection = True
            return
        if fault and fault.split(":")[0].isdigit():
            status, _, after = fault.partition(":")
            self.send_bytes(int(status), b'{"error": {"message": "spoilt"}}', {"Retry-After": after} if after else {})
            return
        status, data, kept = self.upstream(body)
        if fault in ("half", "cut"):
            self.send_bytes(status, data, kept, keep=len(data) // 2)
            return
        with self.home.lock:
            self.home.passed += 1
        self.send_bytes(status, data, kept)

    def upstream(self, body):
        headers = {"Content-Type": "application/json"}
        if self.headers.get("Authorization"):
            headers["Authorization"] = self.headers["Authorization"]
        request = urllib.request.Request(self.home.target + self.path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read(), {"Content-Type": reply.headers["Content-Type"]}
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), {}
        except OSError:
            return 502, b'{"error": "upstream is away"}', {}
