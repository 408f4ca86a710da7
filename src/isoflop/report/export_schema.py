"""What `isoflop export` writes: four flat tables, each a list of columns with a type and a meaning.

Flat, so that one schema holds for Parquet, JSONL and CSV alike; docs/record-format.md says the same in words. A table's
first columns (`run`, `arm`, `problem`, `seed`) are the key of the attempt that a row belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from isoflop.cost.ledger import ROLES

Kind = Literal["text", "whole", "real", "yes/no"]


@dataclass(frozen=True, slots=True)
class Field:
    """A column. `whole` is a 64-bit integer, `real` a 64-bit float; all but the key may be missing."""

    name: str
    kind: Kind
    meaning: str


_KEY = (
    Field("run", "text", "hash of the study"),
    Field("arm", "text", "the arm's label"),
    Field("problem", "text", "the problem's id"),
    Field("seed", "whole", "the attempt's seed"),
)
_BOOK = (
    Field("flops", "real", "FLOPs needed, prefill and decode"),
    Field("prefill_flops", "real", "FLOPs of reading"),
    Field("decode_flops", "real", "FLOPs of making tokens one by one"),
    Field("naive_flops", "real", "what sharing nothing would have needed"),
    Field("prompt_tokens", "whole", "tokens read that were not cached"),
    Field("cached_tokens", "whole", "tokens of context that were cached"),
    Field("new_tokens", "whole", "tokens made"),
    Field("kv_read_bytes", "real", "bytes of keys and values read"),
    Field("seconds", "real", "modelled share of the engine's busy time"),
)


def _books() -> tuple[Field, ...]:
    """`charged_policy_flops`, ...: every field of both books, by role and in all."""
    found = []
    for book, said in (("charged", "what the arm takes alone"), ("spent", "what was computed for this attempt")):
        for role in ("total", *ROLES):
            of = "all roles" if role == "total" else role
            found += [Field(f"{book}_{role}_{one.name}", one.kind, f"{said}, {of}: {one.meaning}") for one in _BOOK]
    return tuple(found)


BOOK_FIELDS = tuple(one.name for one in _BOOK)
TABLES: Mapping[str, tuple[Field, ...]] = {
    "attempts": (
        *_KEY,
        Field("question", "text", "the problem's question"),
        Field("gold", "text", "its gold answer"),
        Field("model", "text", "the engine's spelling"),
        Field("strategy", "text", "the strategy's spelling"),
        Field("reward", "text", "the reward's spelling"),
        Field("outcome", "text", "correct, wrong, no_answer, unverifiable, ungraded, error"),
        Field("correct", "yes/no", "whether the outcome is correct"),
        Field("answer", "text", "the final answer"),
        Field("stop", "text", "finished, budget, depth, no_candidates, error"),
        Field("message", "text", "what there is to say of the stop"),
        Field("chosen_node", "whole", "node that the answer was read from"),
        Field("tied", "whole", "labels that shared the first place of the vote; 0 or 1: no tie"),
        Field("candidates", "whole", "solutions in the vote"),
        Field("nodes", "whole", "nodes in the tree"),
        Field("wall_seconds", "real", "clock from start to end, neighbours' work included"),
        Field("overshoot_seconds", "real", "what went over a time budget"),
        Field("prompt", "text", "the prompt as the model was given it"),
        Field("solution", "text", "the whole text of the chosen solution"),
        *_books(),
    ),
    "candidates": (
        *_KEY,
        Field("node", "whole", "the node that it ends in"),
        Field("answer", "text", "what was read from it"),
        Field("label", "text", "what it votes for"),
        Field("weight", "real", "its weight, where a reward gave one"),
        Field("fallback", "yes/no", "whether the answer was read by the marked fallback"),
        Field("outcome", "text", "as of an attempt"),
        Field("chosen", "yes/no", "whether it is the final answer's"),
        Field("text", "text", "the whole solution"),
    ),
    "nodes": (
        *_KEY,
        Field("node", "whole", "place in the tree; parents come first"),
        Field("parent", "whole", "the parent's place; missing below the prompt"),
        Field("depth", "whole", "steps since the prompt, this one included"),
        Field("text", "text", "the step's own text"),
        Field("reward", "real", "the step's own reward, 0 to 1"),
        Field("fate", "text", "expanded, voted, closed, aside, cut, pruned or stopped"),
        Field("end", "text", "why the step ended: delimiter, end, closed, cap"),
        Field("channel", "text", "visible, think, latent"),
        Field("tokens", "whole", "its tokens, forced ones included"),
        Field("forced", "whole", "tokens that were put there"),
        Field("logprob", "real", "sum over its sampled tokens, in nats"),
        Field("flops", "real", "charged: reading, making and thinking"),
        Field("reward_flops", "real", "charged for scoring the path that ends here"),
        Field("cached_tokens", "whole", "tokens of its context that were cached"),
        Field("read_tokens", "whole", "tokens of its context that were read"),
        Field("seconds", "real", "modelled share of the engine's busy time"),
    ),
    "thoughts": (
        *_KEY,
        Field("node", "whole", "the node whose token it was thought before"),
        Field("at", "whole", "place of that token among the node's"),
        Field("text", "text", "what was thought"),
        Field("tokens", "whole", "its tokens"),
        Field("weight", "real", "how much it counted"),
        Field("plain", "text", "the likeliest next token without it"),
        Field("mixed", "text", "the likeliest next token with it"),
    ),
}
