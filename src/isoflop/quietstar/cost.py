"""What thinking costs, in closed form: the reference's way, and with thoughts beside a cache.

The plain model's share of a thinking token is role `policy` (`Pricer.decode_cost`); what the thought adds is role
`thought`. Mistral-7B at 300 tokens, n_ahead = 8: 37 060 GFLOPs the reference's way, 115 cached, 14 of them plain.

    thought_cost(Pricer(load_shape("mistral-7b")), n_ahead=8, context=300).flops

Legend: M = n_ahead, S = visible tokens up to and with the one that is thought after, H hidden size.
"""

from __future__ import annotations

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Cost
from isoflop.cost.shape import ModelShape
from isoflop.errors import SpecError
from isoflop.quietstar.config import ThoughtConfig


def talk_head_flops(shape: ModelShape) -> int:
    """One weight: matrices of [H, 2H], [H, H] and [1, H]."""
    return 2 * (3 * shape.hidden_size**2 + shape.hidden_size)


def reference_flops(shape: ModelShape, *, n_ahead: int, context: int) -> int:
    """One next token as the reference computes it: M passes over all S positions, over keys that grow to M * S.

    Each pass applies the LM head twice, each sampled token multiplies a one-hot vector with the embedding table, and
    each input of a thought has a talk-head weight.
    """
    sampled, pricer = _sampled(n_ahead, context), Pricer(shape)
    per_position = n_ahead * pricer.flops_per_token + (2 * n_ahead + sampled) * pricer.flops_per_logits
    per_position += (n_ahead - 1) * talk_head_flops(shape)
    return context * per_position + n_ahead * (n_ahead + 1) // 2 * context**2 * pricer.flops_per_key


def cached_flops(shape: ModelShape, *, n_ahead: int, context: int) -> int:
    """One next token with a cache, logits of the plain model included."""
    pricer = Pricer(shape)
    return thought_cost(pricer, n_ahead=n_ahead, context=context).flops + pricer.decode(context - 1, 1)


def thought_cost(pricer: Pricer, *, n_ahead: int, context: int) -> Cost:
    """What the thought after `context` visible tokens adds to the plain forward of the newest one.

    M - 1 rows through the layers; logits for each sampled token and for the mixture; the talk head. The start rides
    with the newest token and the end with the last sampled one, so there are M - 3 forwards more than without a
    thought. Row k sees what the newest token sees, and the k rows of its own thought.
    """
    sampled, shape, inputs = _sampled(n_ahead, context), pricer.shape, n_ahead - 1
    layer_key_flops = pricer.flops_per_key // shape.layers
    pairs = sum(inputs * min(context, window or context) + inputs * (inputs + 1) // 2 for window in shape.windows)
    matrices = inputs * pricer.flops_per_token + (sampled + 1) * pricer.flops_per_logits + talk_head_flops(shape)
    # The two rows of the last forward are multiplied with the same keys, the later row's own among them.
    masked = 1 if n_ahead > 2 else 0
    executed_pairs = shape.layers * (inputs * context + inputs * (inputs + 1) // 2 + masked)
    return Cost(
        decode_flops=matrices + layer_key_flops * pairs,
        executed_flops=matrices + layer_key_flops * executed_pairs,
        weight_bytes=sampled * pricer.weight_bytes(1, 1),
        kv_read_bytes=_kv_bytes_read(shape, sampled, context),
        serial_forwards=sampled,
        new_tokens=sampled,
    )


def _kv_bytes_read(shape: ModelShape, sampled: int, context: int) -> int:
    """The first forward reads the visible keys for the newest token anyway; each further one reads them again."""
    per_key = 2 * shape.kv_width * shape.bytes_per_parameter
    own = sum(range(1, sampled + 1)) + (2 if sampled else 0)  # the last forward reads the end's own key too
    return per_key * sum(sampled * min(context, window or context) + own for window in shape.windows)


def _sampled(n_ahead: int, context: int) -> int:
    if context < 1:
        raise SpecError(f"context={context}: a thought follows a visible token, so there is at least one")
    return ThoughtConfig(n_ahead).sampled_tokens
