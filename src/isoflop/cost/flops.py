"""What a forward pass costs, from the model's shape alone: closed forms in whole numbers, multiply-add = 2.

Three things multiply. Every token goes through the layers' matrices; attention multiplies each query with the keys it
attends to (itself included) and weighs as many values; the LM head turns a hidden state into logits where logits are
made. `needed` counts only keys that causality and the window leave; `executed` what kernels that mask, rather than
skip, multiply. It is not a model of time (`devices.py` bounds that) and leaves out what is not a matrix product:
softmax, norms, activations, look-ups, rotary angles, sampling.

    pricer = Pricer(load_shape("mistral-7b"))
    pricer.prefill_cost(start=0, tokens=80).flops       # a prompt, logits at its last token
    pricer.decode_cost(start=80, tokens=255).flops      # 255 forwards of one token each

Kaplan et al. 2020 (arXiv 2001.08361, table 1) for the dense form; docs/cost-model.md for every factor.
"""

from __future__ import annotations

from collections import Counter

from isoflop.cost.ledger import Cost
from isoflop.cost.shape import ModelShape
from isoflop.errors import SpecError


def attended_keys(start: int, tokens: int, window: int | None = None) -> int:
    """Query-key pairs of `tokens` tokens after `start` cached ones: position p attends to min(p + 1, window) keys."""
    growing = tokens if window is None else min(max(window - start, 0), tokens)
    pairs = growing * start + growing * (growing + 1) // 2
    return pairs if window is None else pairs + (tokens - growing) * window


class Pricer:
    """The coefficients of one shape, worked out once; each method is then a few multiplications.

    `flops_per_token` is that of the layers' matrices, `flops_per_logits` of the LM head at one position,
    `flops_per_key` of one query attending to one key in all layers.
    """

    __slots__ = (
        "_by_window",
        "_fixed_read_parameters",
        "_sparse",
        "flops_per_key",
        "flops_per_logits",
        "flops_per_token",
        "kv_bytes_per_token",
        "shape",
    )

    def __init__(self, shape: ModelShape) -> None:
        self.shape = shape
        hidden_size = shape.hidden_size
        weights = sum(f.weights_per_token(hidden_size) for f in shape.feed_forwards)
        self.flops_per_token = 2 * (weights + shape.layers * shape.attention_weights_per_layer)
        self.flops_per_logits = 2 * shape.head_parameters
        self.kv_bytes_per_token = shape.kv_bytes_per_token
        flops_per_key_and_layer = 4 * shape.query_width
        kv_bytes_per_key_and_layer = 2 * shape.kv_width * shape.bytes_per_parameter
        self.flops_per_key = shape.layers * flops_per_key_and_layer
        # per window: (window, FLOPs per attended key, KV bytes per key); a model has one or two different windows
        self._by_window = tuple(
            (window, layers * flops_per_key_and_layer, layers * kv_bytes_per_key_and_layer)
            for window, layers in Counter(shape.windows).items()
        )
        self._sparse = tuple(Counter(shape.feed_forwards).items())
        self._fixed_read_parameters = (
            shape.layers * (shape.attention_parameters_per_layer + shape.norm_parameters_per_layer)
            + shape.final_norm_parameters
        )

    def needed(self, start: int, tokens: int, logits: int) -> int:
        """FLOPs that `tokens` tokens after `start` cached ones need, with logits at `logits` of them.

        It is the same in one forward or in many: decoding only changes what is read, and how often.
        """
        _check(start, tokens, logits)
        flops = tokens * self.flops_per_token + logits * self.flops_per_logits
        for window, flops_per_key, _ in self._by_window:
            flops += flops_per_key * attended_keys(start, tokens, window)
        return flops

    def prefill(self, start: int, tokens: int, logits: int = 1) -> int:
        """FLOPs needed to append `tokens` tokens in one forward, with logits at `logits` of them."""
        return self.needed(start, tokens, logits)

    def decode(self, start: int, tokens: int) -> int:
        """FLOPs needed by `tokens` forwards of one token each, at contexts of start + 1 to start + tokens keys."""
        return self.needed(start, tokens, tokens)

    def executed(self, tokens: int, query_key_pairs: int, logits: int) -> int:
        """FLOPs of kernels that multiply `tokens` tokens, padding included, and so many query-key pairs in each layer.

        A padded batch of r rows, q queries and k keys has r*q tokens and r*q*k pairs.
        """
        return tokens * self.flops_per_token + query_key_pairs * self.flops_per_key + logits * self.flops_per_logits

    def executed_prefill(self, start: int, tokens: int, logits: int = 1) -> int:
        """FLOPs of one dense forward: every query against every key; causality and windows only mask."""
        return self.executed(tokens, tokens * (start + tokens), logits)

    def executed_decode(self, start: int, tokens: int) -> int:
        """FLOPs of `tokens` forwards of one token over whole rows: what is needed, unless a window is shorter."""
        return self.executed(tokens, attended_keys(start, tokens), tokens)

    def from_scratch(self, prefix_tokens: int, new_tokens: int) -> int:
        """FLOPs needed to encode a prefix anew and to make `new_tokens` after it: a request's share of `naive_flops`.

        The first new token comes from the prefix's last logits, and the last one is never fed back.
        """
        made = min(new_tokens, 1)
        return self.prefill(0, prefix_tokens, made) + self.decode(prefix_tokens, new_tokens - made)

    def weight_bytes(self, tokens: int, logits: int) -> int:
        """Bytes of weights that one forward reads, each at most once.

        Of experts it is as many as `tokens` tokens can reach (an upper bound: they may share), the LM head is read only
        where logits are made, and of the embeddings only the tokens' rows.
        """
        if not tokens:
            return 0
        shape = self.shape
        parameters = self._fixed_read_parameters
        for feed_forward, layers in self._sparse:
            parameters += layers * feed_forward.parameters_read(shape.hidden_size, tokens)
        head_is_read = logits > 0
        if head_is_read:
            parameters += shape.head_parameters
        if not (head_is_read and shape.tied_embeddings):
            parameters += min(tokens, shape.vocab_size) * shape.hidden_size
        if shape.learned_positions:
            parameters += min(tokens, shape.max_positions) * shape.hidden_size
        return parameters * shape.bytes_per_parameter

    def kv_bytes_read_by_prefill(self, start: int, tokens: int) -> int:
        """Bytes of keys and values that one forward reads: each key that any of its queries attends to, once."""
        total = 0
        for window, _, kv_bytes in self._by_window:
            keys = start + tokens if window is None else min(start + tokens, tokens + window - 1)
            total += kv_bytes * keys
        return total if tokens else 0

    def kv_bytes_read_by_decode(self, start: int, tokens: int) -> int:
        """Bytes of keys and values that `tokens` forwards of one token read, each all keys that it attends to."""
        return sum(kv_bytes * attended_keys(start, tokens, window) for window, _, kv_bytes in self._by_window)

    def prefill_cost(
        self, start: int, tokens: int, logits: int = 1, *, recomputed: bool = False, rows: int = 1
    ) -> Cost:
        """One forward that appends `tokens` tokens after `start` cached ones.

        With `rows` sequences in the same forward the weights are read once for all, and a row bears its share
        (rounded up). `recomputed` books the tokens as ones that had been computed before and were evicted.
        """
        return Cost(
            prefill_flops=self.needed(start, tokens, logits),
            executed_flops=self.executed_prefill(start, tokens, logits),
            weight_bytes=-(-self.weight_bytes(tokens * rows, logits * rows) // rows),
            kv_read_bytes=self.kv_bytes_read_by_prefill(start, tokens),
            serial_forwards=1 if tokens else 0,
            prompt_tokens=0 if recomputed else tokens,
            cached_tokens=start,
            recomputed_tokens=tokens if recomputed else 0,
        )

    def decode_cost(self, start: int, tokens: int, *, rows: int = 1) -> Cost:
        """`tokens` forwards of one token each after `start` cached ones; `rows` as above.

        `new_tokens` stays 0, for whoever samples to fill: N new tokens take a prefill and N - 1 of these forwards.
        """
        return Cost(
            decode_flops=self.needed(start, tokens, tokens),
            executed_flops=self.executed_decode(start, tokens),
            weight_bytes=-(-tokens * self.weight_bytes(rows, rows) // rows),
            kv_read_bytes=self.kv_bytes_read_by_decode(start, tokens),
            serial_forwards=tokens,
        )


def _check(start: int, tokens: int, logits: int) -> None:
    if start < 0 or tokens < 0 or not 0 <= logits <= tokens:
        raise SpecError(
            f"cannot price start={start}, tokens={tokens}, logits={logits}: "
            "none may be negative, and logits are made at most once a token"
        )


def estimate(shape: ModelShape, prompt_tokens: int, new_tokens: int) -> dict[str, int]:
    """One prompt and one answer, nothing cached: FLOPs needed, bytes and parameters, as plain numbers.

    A prompt of P tokens and N new ones take P + N - 1 token forwards: the prompt's last logits make the first new
    token, the last new token is not fed back. So `decode_flops` is that of N - 1 forwards.
    """
    _check(0, prompt_tokens, 0)
    if prompt_tokens < 1 or new_tokens < 0:
        raise SpecError(f"cannot price prompt_tokens={prompt_tokens}, new_tokens={new_tokens}: a prompt has a token")
    pricer = Pricer(shape)
    prefill = pricer.prefill(0, prompt_tokens, min(new_tokens, 1))
    total = pricer.from_scratch(prompt_tokens, new_tokens)
    return {
        "total_flops": total,
        "prefill_flops": prefill,
        "decode_flops": total - prefill,
        "flops_per_token": pricer.flops_per_token + pricer.flops_per_logits,
        "flops_per_token_of_context": pricer.flops_per_key,
        "kv_bytes_per_token": pricer.kv_bytes_per_token,
        "parameters": shape.parameters,
        "active_parameters": shape.active_parameters,
        "weight_bytes": shape.weight_bytes,
    }
