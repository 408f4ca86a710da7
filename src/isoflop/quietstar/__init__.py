"""Quiet-STaR: a causal language model that thinks a few hidden tokens before each visible one.

    model = ThoughtModel.load("quietstar-8-ahead", n_ahead=8, thought_vectors="learned")
    out = model.next_token(ids, thoughts="greedy")
    out.logits, out.base_logits, out.weight, out.thoughts

It is the policy alone: no search, no scheduling of many sequences. Zelikman et al. 2024 (arXiv 2403.09629).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoflop.quietstar.model import ThoughtModel

__all__ = ["ThoughtModel"]


def __getattr__(name: str) -> Any:
    """Torch comes with the model alone: what the engine is called, and what it costs, is known without it."""
    if name != "ThoughtModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from isoflop.quietstar.model import ThoughtModel

    return ThoughtModel
