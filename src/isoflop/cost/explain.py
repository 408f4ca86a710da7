"""The cost formula with its numbers, as text: every factor of `flops.py` named, from a shape alone.

It prints what `flops.estimate` computes and adds no figure of its own; it is not a table of a run's cost.

    print(explain(load_shape("mistral-7b"), prompt_tokens=100, new_tokens=256))
"""

from __future__ import annotations

from collections import Counter

from isoflop.cost.flops import Pricer, attended_keys, estimate
from isoflop.cost.shape import DenseFeedForward, FeedForward, ModelShape

_UNITS = ((10**15, "PFLOPs"), (10**12, "TFLOPs"), (10**9, "GFLOPs"), (10**6, "MFLOPs"), (10**3, "kFLOPs"))


def format_flops(flops: int) -> str:
    """Four digits and the unit: 14220787712 -> '14.22 GFLOPs'."""
    for size, unit in _UNITS:
        if flops >= size:
            return f"{flops / size:.4g} {unit}"
    return f"{flops} FLOPs"


def explain(shape: ModelShape, prompt_tokens: int, new_tokens: int) -> str:
    """What one prompt of `prompt_tokens` and one answer of `new_tokens` cost, and why, factor by factor."""
    active = f", {shape.active_parameters:,} active" if shape.active_parameters != shape.parameters else ""
    cached = f"2 (key, value) x {shape.kv_heads} heads x {shape.head_dim} x {shape.bytes_per_parameter} bytes"
    head = [
        f"{shape.model_type}: {shape.parameters:,} parameters{active}",
        f"  weights       {shape.weight_bytes:,} bytes at {shape.bytes_per_parameter} a parameter",
        f"  cache         {shape.kv_bytes_per_token:,} bytes a token = {shape.layers} layers x {cached}",
        "A multiply-add is 2 FLOPs. Softmax, norms, activations, look-ups and sampling are not counted.",
    ]
    return "\n".join([*head, "", *_token_lines(shape), "", *_request_lines(shape, prompt_tokens, new_tokens)])


def _token_lines(shape: ModelShape) -> list[str]:
    pricer = Pricer(shape)
    layers, hidden, query, kv = shape.layers, shape.hidden_size, shape.query_width, shape.kv_width
    projections = f"{hidden} x {query} query + 2 x {hidden} x {kv} key, value + {query} x {hidden} output"
    projection_flops = 2 * layers * shape.attention_weights_per_layer
    one_key = f"4 (2 query x key, 2 weight x value) x {shape.heads} heads x {shape.head_dim}"
    together, logits = pricer.flops_per_token, pricer.flops_per_logits
    return [
        "A token",
        f"  projections   {layers} layers x 2 x ({projections}) = {format_flops(projection_flops)}",
        *(_feed_forward_line(f, n, hidden) for f, n in Counter(shape.feed_forwards).items()),
        f"  together      {format_flops(together)}, with logits {format_flops(together + logits)}",
        f"  LM head       2 x {hidden} x {shape.vocab_size}, only where logits are made = {format_flops(logits)}",
        f"  attention     {layers} layers x {one_key} = {format_flops(pricer.flops_per_key)} per token of context",
        *_window_lines(shape),
    ]


def _window_lines(shape: ModelShape) -> list[str]:
    windows = Counter(shape.windows)
    if set(windows) == {None}:
        return []
    spans = (f"in {n} layers {'all' if window is None else f'at most {window:,}'}" for window, n in windows.items())
    return [f"  context       a token attends to itself and those before it: {', '.join(spans)}"]


def _feed_forward_line(feed_forward: FeedForward, layers: int, hidden: int) -> str:
    width, flops = feed_forward.width, format_flops(2 * layers * feed_forward.weights_per_token(hidden))
    if isinstance(feed_forward, DenseFeedForward):
        matrices = "3 (gate, up, down)" if feed_forward.gated else "2 (up, down)"
        return f"  feed-forward  {layers} layers x 2 x {matrices} x {hidden} x {width} = {flops}"
    experts, active, shared_width = feed_forward.experts, feed_forward.active_experts, feed_forward.shared_width
    shared = f" + 3 x {hidden} x {shared_width} shared expert + {hidden} its gate" if shared_width else ""
    return (
        f"  experts       {layers} layers x 2 x ({active} active of {experts} x 3 x {hidden} x {width} + "
        f"{hidden} x {experts} router{shared}) = {flops}"
    )


def _request_lines(shape: ModelShape, prompt_tokens: int, new_tokens: int) -> list[str]:
    figures = estimate(shape, prompt_tokens, new_tokens)
    made_by_prefill = min(new_tokens, 1)
    forwards = new_tokens - made_by_prefill
    prefill = f"{prompt_tokens:,} tokens, logits at {made_by_prefill}, {_pairs(shape, 0, prompt_tokens)}"
    decode = f"{forwards:,} tokens with logits, {_pairs(shape, prompt_tokens, forwards)}"
    return [
        f"A prompt of {prompt_tokens:,} tokens and {new_tokens:,} new ones",
        f"  prefill       {prefill} = {format_flops(figures['prefill_flops'])}",
        f"  decode        {decode} = {format_flops(figures['decode_flops'])}",
        f"  total         {format_flops(figures['total_flops'])}",
        "The prefill makes the first new token, and the last new token is not fed back.",
    ]


def _pairs(shape: ModelShape, start: int, tokens: int) -> str:
    counts = (f"{attended_keys(start, tokens, window):,}" for window in dict.fromkeys(shape.windows))
    return " or ".join(counts) + " query-key pairs a layer"
