"""Quiet-STaR as an ordinary policy: the local engine with a hidden thought before the tokens that are worth one.

`think` says before which tokens: "always"; "never" (the plain local engine, to the last bit); "boundary", the first
token that is sampled of each step; "gate(t)", tokens whose plain distribution has an entropy above t nats; "oracle",
the first token of steps whose result hides operations, as the problems themselves say: a bound for every gate, no
method. A thought is dropped once its token is drawn. The engine's work is in `engine_thinker.py`.

    engine = QuietStar("quietstar-8-ahead", think="boundary", thoughts="sampled", thoughts_per_node=2).open()

Zelikman et al. 2024 (arXiv 2403.09629).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal

from isoflop.engines.base import EngineSpec
from isoflop.engines.local import Local
from isoflop.errors import SpecError
from isoflop.quietstar.config import ThoughtConfig, ThoughtVectors
from isoflop.specs import require

if TYPE_CHECKING:
    from isoflop.engines.local_engine import LocalEngine


@dataclass(frozen=True)
class QuietStar(EngineSpec):
    """`thoughts`: the tokens of a thought are the likeliest ones, or "sampled" at temperature 1 as by the public code.

    Siblings share greedy thoughts, which are equal. Sampled ones are each path's own, unless `thoughts_per_node` (with
    think="boundary") says how many a node has: its i-th child then uses thought i mod thoughts_per_node.
    `ahead` (with think="always") drafts tokens while their thoughts are under way: the same text in fewer forwards
    (`engine_ahead.py`). `thought_vectors="dash"` is the public evaluation's. The other fields are those of `local`; a
    head reads the plain hidden state, before a thought is mixed in: what it was trained on.
    """

    spec_name: ClassVar[str] = "quietstar"

    model: str
    n_ahead: int = 8
    think: str = "always"
    thoughts: Literal["greedy", "sampled"] = "greedy"
    thoughts_per_node: int | None = None
    ahead: bool = False
    thought_vectors: ThoughtVectors = "learned"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    context_tokens: int | None = None
    memory_gb: float = 4.0
    max_live: int = 128
    threads: int | None = None
    readout: str | None = None
    share_prompts: bool = False

    def __post_init__(self) -> None:
        ThoughtConfig(self.n_ahead, (), self.thought_vectors)
        gate_of(self.think)
        shared = self.thoughts_per_node
        law = f"quietstar(thoughts_per_node={shared}): "
        require(shared is None or shared >= 1, law + "at least 1, or left out")
        require(
            shared is None or self.think == "boundary", law + "siblings share a node's thoughts with think='boundary'"
        )
        require(
            shared in (None, 1) or self.thoughts == "sampled", law + "greedy thoughts are all the same; sample them"
        )
        require(
            not self.ahead or self.think == "always",
            f"quietstar(ahead=True, think={self.think!r}): thinking ahead hides that each token waits for its thought; "
            "where few tokens are thought about, few wait. Use think='always', or leave ahead out",
        )
        _ = self.local

    @property
    def local(self) -> Local:
        """The local engine below: every field of its own is one of ours."""
        return Local(**{field.name: getattr(self, field.name) for field in fields(Local)})

    def open(self) -> LocalEngine:
        """Load model and thoughts, and set up the slots."""
        if self.think == "never":
            return self.local.open()
        from isoflop.quietstar.engine_open import open_thinking

        return open_thinking(self)


@dataclass(frozen=True, slots=True)
class Gate:
    """Think before a token where a number is above `threshold`: the entropy of its plain distribution, in nats, or the
    probability that the checkpoint's gate head gives a gain."""

    threshold: float
    by: Literal["entropy", "head"] = "entropy"


def gate_of(think: str) -> Gate | None:
    """The gate that a rule means; None where it is none. SpecError for what is no rule."""
    if think in ("always", "never", "boundary", "oracle"):
        return None
    found = re.fullmatch(r"gate\(([^,]*?)(?:, *by=(['\"])(entropy|head)\2)?\)", think)
    try:
        gate = Gate(float(found[1]), "head" if found[3] == "head" else "entropy") if found else None
    except ValueError:
        gate = None
    if gate is None or not 0 <= gate.threshold <= (1 if gate.by == "head" else math.inf):
        raise SpecError(
            f"quietstar(think={think!r}) is unknown; allowed: 'always', 'never', 'boundary', 'oracle', 'gate(t)' with "
            "an entropy t >= 0 in nats, \"gate(t, by='head')\" with a probability t from 0 to 1"
        )
    return gate
