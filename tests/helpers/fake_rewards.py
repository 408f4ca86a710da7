"""A small real server of a reward model, with vLLM's `/pooling`, `/classify` and constrained completions.

It runs the checkpoint itself, token by token, and knows nothing of questions, steps or formats.

    with FakeRewards(scoring_model) as server: specs.parse("reward", f"served('{server.url}', 'prm', qwen_prm('...'))")
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch


class FakeRewards:
    """`read(tokens)` gives the logits at every position; `rows` names the LM head's rows where they are words."""

    def __init__(self, model, words=()):
        self.model, self.words, self.paths, self.lock = model, list(words), [], threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @torch.inference_mode()
    def read(self, tokens):
        with self.lock:
            hidden_ND = self.model.decoder(input_ids=torch.tensor([tokens]), use_cache=False).last_hidden_state[0]
            return self.model.read(hidden_ND).tolist()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake, tokens = self.fake, body.get("input") or body.get("prompt")
        fake.paths.append(self.path)
        if body["model"] != "prm":
            self.answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            return
        logits = fake.read(tokens)
        usage = {"prompt_tokens": len(tokens)}
        if self.path == "/v1/completions":
            assert body["allowed_token_ids"] == body["logprob_token_ids"] == fake.words
            told = {f"token_id:{word}": value - 3.0 for word, value in zip(fake.words, logits[-1], strict=True)}
            self.answer(200, {"choices": [{"logprobs": {"top_logprobs": [told]}}], "usage": usage})
            return
        assert body["use_activation"] is False
        entry = {"probs": logits[-1]} if self.path == "/classify" else {"data": logits}
        self.answer(200, {"data": [entry], "usage": usage})

    def answer(self, status, document):
        data = json.dumps(document).encode()
        self.wfile.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
