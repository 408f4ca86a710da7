"""A small real server that speaks OpenAI's protocol as vLLM, llama.cpp or a plain one does, over a toy language model.

The toy draws each token from a distribution that is a fixed function of the last two, by the request's seed and the
position, so its answers do not depend on neighbours. It counts for itself what it read, found cached and made, which
makes it the double-entry partner of the engine on the other side.

    with FakeServer(tokenizer_folder, dialect="vllm") as server:
        Remote(server.url, "toy", tokenizer=str(tokenizer_folder)).open()
"""

from __future__ import annotations

import codecs
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
from small_server import SmallHandler, SmallServer

from isoflop.engines.local_text import Tokens
from isoflop.randomness import uniform
from isoflop.runtime.loading import load_tokenizer

SPLIT = "✓"
BLOCK = 4  # tokens that are cached together, as servers do
STRICT = {"model", "prompt", "messages", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"} | {
    "stream_options",
    "logprobs",
    "top_logprobs",
}


class Toy:
    """The language model: newlines and endings are likely, the rest is hashed. Its text is whole characters, but for
    one that three tokens make, so that caps can fall into it."""

    def __init__(self, folder):
        tokenizer = load_tokenizer(str(folder))
        self.end = int(tokenizer.eos_token_id)
        self.tokens = Tokens(tokenizer, len(tokenizer), {self.end})
        self.pieces = self.tokens.pieces
        self.split = self.tokens.encode(SPLIT)
        assert len(self.split) == 3, "the character has to be split over tokens"
        self.broken = [i for i, piece in enumerate(self.pieces) if not _is_text(piece) or not piece]
        self.lock = threading.Lock()
        self._known = {}

    def logits(self, last):
        if last not in self._known:
            rng = np.random.default_rng([token + 7 for token in last])
            logits = rng.normal(size=len(self.pieces)) * 2
            logits[self.tokens.encode("\n")[0]] += 5
            logits[self.end] += 4
            logits[self.broken] = -50
            logits[self.split[0]] = 4
            if last[-1] in self.split[:2]:
                logits[:] = -50
                logits[self.split[self.split.index(last[-1]) + 1]] = 0
            self._known[last] = logits - np.log(np.exp(logits).sum())
        return self._known[last]

    def next(self, path, seed, temperature):
        """One token and its log-probability at temperature 1."""
        logprobs = self.logits(tuple(path[-2:]))
        if temperature == 0:
            token = int(np.argmax(logprobs))
        else:
            weights = np.cumsum(np.exp(logprobs / temperature))
            token = int(np.searchsorted(weights, uniform(seed or 0, len(path)) * weights[-1]))
        return token, float(logprobs[token])


class FakeServer(SmallServer):
    """`dialect`: vllm, llamacpp, openai (text and strings alone), bare (not even log-probabilities).

    `seconds_per_token` slows it down; `key` is the API key it wants; `counted` is its own book.
    """

    def __init__(self, folder, dialect="vllm", *, model="toy", seconds_per_token=0.0, key=None, context=256, port=0):
        self.toy, self.dialect, self.model = Toy(folder), dialect, model
        self.seconds_per_token, self.key, self.context = seconds_per_token, key, context
        self.bodies, self.authorizations = [], set()
        self.counted = {"prompt": 0, "cached": 0, "new": 0}
        self.live = self.most_live = self.aborted = 0
        self._cache = []
        self.connections = set()
        super().__init__(_Handler, port)

    def close(self):
        """As a kill does: what is connected is cut off."""
        super().close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def forget(self):
        """Begin the book anew."""
        self.counted.update(prompt=0, cached=0, new=0)
        self.bodies.clear()

    def models(self):
        owner = {"vllm": "vllm", "llamacpp": "llamacpp"}.get(self.dialect, "somebody")
        entry = {"id": self.model, "owned_by": owner}
        if self.dialect == "vllm":
            entry["max_model_len"] = self.context
        if self.dialect == "llamacpp":
            entry["meta"] = {"n_ctx": self.context}
        return {"data": [entry]}

    def prompt_of(self, body):
        if "messages" in body:
            turns = [(turn["role"], turn["content"]) for turn in body["messages"]]
            begun = turns.pop()[1] if turns[-1][0] == "assistant" else ""
            text = "".join(f"[{role}] {content}\n" for role, content in turns) + "[assistant] " + begun
            return list(self.toy.tokens.encode(text, prompt=True))
        prompt = body["prompt"]
        return list(prompt) if isinstance(prompt, list) else list(self.toy.tokens.encode(prompt, prompt=True))

    def read(self, prompt):
        """How much of the prompt was cached, in whole blocks and never all of it."""
        with self.toy.lock:
            longest = max([_common(known, prompt) for known in self._cache], default=0)
            cached = min(longest, len(prompt) - 1) // BLOCK * BLOCK
            self._cache = [*self._cache[-200:], tuple(prompt)]
            self.counted["prompt"] += len(prompt) - cached
            self.counted["cached"] += cached
        return cached

    def write(self, body, prompt):
        """(token, log-probability, why it ended after this one or None), until the end, a stop string or the cap."""
        path, text, most = list(prompt), b"", min(body["max_tokens"], self.context - len(prompt))
        stops = [stop.encode() for stop in body.get("stop") or []]
        for number in range(most):
            if self.seconds_per_token:
                time.sleep(self.seconds_per_token)
            with self.toy.lock:
                token, logprob = self.toy.next(path, body.get("seed"), body["temperature"])
                self.counted["new"] += 1
            path.append(token)
            text += self.toy.pieces[token] if token != self.toy.end else b""
            hit = next((stop for stop in stops if stop in text), None)
            ended = ("stop", None) if token == self.toy.end else ("stop", hit.decode()) if hit else None
            if ended is None and number == most - 1:
                ended = ("length", None)
            yield token, logprob, ended
            if ended:
                return

    @contextmanager
    def at_work(self):
        with self.toy.lock:
            self.live += 1
            self.most_live = max(self.most_live, self.live)
        try:
            yield
        finally:
            with self.toy.lock:
                self.live -= 1


class _Handler(SmallHandler):
    def setup(self):
        super().setup()
        self.home.connections.add(self.connection)

    def finish(self):
        self.home.connections.discard(self.connection)
        super().finish()

    def do_GET(self):
        if self.path == "/v1/models" and self.allowed():
            self.send(200, self.home.models())
        elif self.path != "/v1/models":
            self.send(404, {"error": "no such path"})

    def do_POST(self):
        body = self.document()
        if not self.allowed():
            return
        fake = self.home
        fake.bodies.append(body)
        if body["model"] != fake.model:
            self.send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            return
        refused = self.refusal(body)
        if refused:
            self.send(400, {"error": {"message": refused}})
            return
        with fake.at_work():
            prompt = fake.prompt_of(body)
            cached = fake.read(prompt)
            (self.stream if body.get("stream") else self.whole)(body, prompt, cached)

    def allowed(self):
        told = self.headers.get("Authorization")
        self.home.authorizations.add(told)
        if self.home.key is not None and told != f"Bearer {self.home.key}":
            self.send(401, {"error": {"message": f"Incorrect API key provided: {told}"}})
            return False
        return True

    def refusal(self, body):
        if self.home.dialect in ("openai", "bare"):
            unknown = set(body) - STRICT
            if unknown:
                return f"Unrecognized request argument supplied: {sorted(unknown)[0]}"
            if not isinstance(body.get("prompt", ""), str):
                return "prompt: a text is needed"
        if self.home.dialect == "bare" and body.get("logprobs"):
            return "logprobs are not supported"
        return None

    def whole(self, body, prompt, cached):
        fake, toy = self.home, self.home.toy
        made = list(fake.write(body, prompt))
        ids, values = [token for token, _, _ in made], [value for _, value, _ in made]
        reason, stop = made[-1][2]
        text = b"".join(toy.pieces[token] for token in ids if token != toy.end).decode(errors="replace")
        choice = {"finish_reason": reason, "text": text.split(stop)[0] if stop else text}
        if fake.dialect == "vllm":
            choice |= {"token_ids": ids, "stop_reason": stop, "logprobs": {"token_logprobs": values}}
        elif fake.dialect == "llamacpp":
            choice["logprobs"] = {"content": self.entries(made)}
        elif body.get("logprobs"):
            choice["logprobs"] = {"tokens": [self.string(token) for token in ids], "token_logprobs": values}
        if "messages" in body:
            choice["message"] = {"content": choice.pop("text")}
        self.send(200, {"choices": [choice], "usage": self.usage(prompt, cached, len(made))})

    def stream(self, body, prompt, cached):
        fake, toy = self.home, self.home.toy
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        made, held = 0, []
        for token, value, ended in fake.write(body, prompt):
            made, held = made + 1, [*held, (token, value, ended)]
            text = b"".join(toy.pieces[one] for one, _, _ in held if one != toy.end)
            if _whole_characters(text) or ended:
                choice = {"text": text.decode(errors="replace"), "finish_reason": None}
                if fake.dialect == "llamacpp":
                    choice["logprobs"] = {"content": self.entries(held)}
                elif body.get("logprobs"):
                    shown = [one for one in held if one[0] != toy.end]
                    strings = [self.string(one) for one, _, _ in shown]
                    choice["logprobs"] = {"tokens": strings, "token_logprobs": [value for _, value, _ in shown]}
                event = {"choices": [self.chatted(body, choice)]}
                if fake.dialect == "llamacpp":
                    event["timings"] = {"prompt_n": len(prompt) - cached, "cache_n": cached}
                if not self.event(event):
                    return
                held = []
            if ended:
                last = {"text": "", "finish_reason": ended[0]}
                self.event({"choices": [self.chatted(body, last)], "usage": self.usage(prompt, cached, made)})
                self.wfile.write(b"data: [DONE]\n\n")

    def chatted(self, body, choice):
        return {**choice, "delta": {"content": choice["text"]}, "text": ""} if "messages" in body else choice

    def event(self, document):
        try:
            self.wfile.write(b"data: " + json.dumps(document).encode() + b"\n\n")
            return True
        except OSError:
            self.home.aborted += 1
            return False

    def entries(self, made):
        """As llama.cpp shows them: the tokens of one character as one entry, with the last one's id."""
        toy, found, held = self.home.toy, [], b""
        for token, value, ended in made:
            held += toy.pieces[token] if token != toy.end else b""
            if _whole_characters(held) or ended:
                found.append(
                    {"id": token, "bytes": list(held), "token": held.decode(errors="replace"), "logprob": value}
                )
                held = b""
        return found

    def string(self, token):
        """As OpenAI shows a token: its text, or its bytes where they are none."""
        piece = self.home.toy.pieces[token]
        return piece.decode() if _is_text(piece) else "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)

    def usage(self, prompt, cached, made):
        details = {"cached_tokens": cached} if self.home.dialect != "bare" else None
        return {"prompt_tokens": len(prompt), "completion_tokens": made, "prompt_tokens_details": details}


def _whole_characters(piece):
    """Whether no character has begun and not ended."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(piece)
    return not decoder.getstate()[0]


def _is_text(piece):
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _common(a, b):
    size = min(len(a), len(b))
    return next((i for i in range(size) if a[i] != b[i]), size)
