"""A small real server of a reward model, with vLLM's `/pooling`, `/classify` and constrained completions.

It runs the checkpoint itself, token by token, and knows nothing of questions, steps or formats.

    with FakeRewards(scoring_model) as server: specs.parse("reward", f"served('{server.url}', 'prm', qwen_prm('...'))")
"""

from __future__ import annotations

import threading

import torch
from small_server import SmallHandler, SmallServer


class FakeRewards(SmallServer):
    """`read(tokens)` gives the logits at every position; `words` are the LM head's rows where they are words; `tag` is
    the token of whose positions alone `/pooling` shows the rows, as vLLM does for Qwen's process reward models."""

    def __init__(self, model, words=(), tag=None):
        self.model, self.words, self.tag, self.paths, self.lock = model, list(words), tag, [], threading.Lock()
        super().__init__(_Handler)

    @torch.inference_mode()
    def read(self, tokens):
        with self.lock:
            hidden_ND = self.model.decoder(input_ids=torch.tensor([tokens]), use_cache=False).last_hidden_state[0]
            return self.model.read(hidden_ND).tolist()


class _Handler(SmallHandler):
    def do_POST(self):
        body, fake = self.document(), self.home
        tokens = body.get("input") or body.get("prompt")
        fake.paths.append(self.path)
        if body["model"] != "prm":
            self.send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            return
        logits = fake.read(tokens)
        usage = {"prompt_tokens": len(tokens)}
        if self.path == "/v1/completions":
            assert body["allowed_token_ids"] == body["logprob_token_ids"] == fake.words
            told = {f"token_id:{word}": value - 3.0 for word, value in zip(fake.words, logits[-1], strict=True)}
            self.send(200, {"choices": [{"logprobs": {"top_logprobs": [told]}}], "usage": usage})
            return
        assert body["use_activation"] is False
        if fake.tag is not None:
            logits = [row for row, token in zip(logits, tokens, strict=True) if token == fake.tag]
        entry = {"probs": logits[-1]} if self.path == "/classify" else {"data": logits}
        self.send(200, {"data": [entry], "usage": usage})
