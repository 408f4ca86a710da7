"""The FLOPs formula of the published study, to show its figures beside ours and to read tokens out of its logs.

It is not a price: it takes one head's width for the width of attention and two feed-forward matrices for three, leaves
the LM head out, and does not know the context; prompts, thoughts and the reward model are not counted at all. For
Mistral-7B it comes to 54% of the matrix products of a token.

    published_flops_per_token(MISTRAL_7B)      # 7650672640

"Inference Scaling vs Reasoning", arXiv 2412.16260, and its published code.
"""

from __future__ import annotations

from isoflop.cost.known import CONFIGS
from isoflop.cost.shape import ModelShape, shape_from_config

MISTRAL_7B = shape_from_config(CONFIGS["mistralai/Mistral-7B-v0.1"])


def published_flops_per_token(shape: ModelShape) -> int:
    """4 d L (2 d/heads + d_ff) + 2 L d, for hidden size d, L layers and feed-forward width d_ff."""
    hidden_size = shape.hidden_size
    widths = sum(2 * shape.head_dim + feed_forward.width for feed_forward in shape.feed_forwards)
    return 4 * hidden_size * widths + 2 * shape.layers * hidden_size
