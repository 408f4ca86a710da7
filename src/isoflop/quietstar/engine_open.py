"""Opening the engine of a model with thoughts.

engine = open_thinking(QuietStar("quietstar-8-ahead", ahead=True))
"""

from __future__ import annotations

from isoflop.cost.flops import Pricer
from isoflop.engines.local_engine import LocalEngine
from isoflop.engines.local_open import open_local
from isoflop.engines.local_thinker import Thinker
from isoflop.quietstar.checkpoint import load_checkpoint, load_gate_head
from isoflop.quietstar.engine import QuietStar, gate_of
from isoflop.quietstar.engine_ahead import AheadThinker, front_tokens
from isoflop.quietstar.engine_thinker import QuietThinker
from isoflop.runtime.runner import Runner


def open_thinking(spec: QuietStar) -> LocalEngine:
    """The local engine with the thoughts of the spec's checkpoint on it. Raises ModelError with the reason."""
    place = (None, spec.dtype, spec.device)
    base, parameters, config = load_checkpoint(spec.model, spec.n_ahead, spec.thought_vectors, *place)

    gate, gate_head = gate_of(spec.think), None
    if gate is not None and gate.by == "head":
        hidden_size = int(base.config.get_text_config().hidden_size)
        gate_head = load_gate_head(spec.model, hidden_size).to(base.device)

    def make(runner: Runner, pieces: list[bytes], pricer: Pricer) -> Thinker:
        if spec.ahead:
            return AheadThinker(runner, pieces, pricer, parameters, config, sampled=spec.thoughts == "sampled")
        return QuietThinker(runner, pieces, pricer, parameters, config, spec, gate_head)

    front = front_tokens(config) if spec.ahead else 0
    return open_local(spec.local, model=base, make_thinker=make, spare_tokens=config.inputs, front_tokens=front)
