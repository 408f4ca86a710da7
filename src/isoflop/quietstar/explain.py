"""What the thoughts of an engine take beside its plain tokens, written out with its numbers.

print(explain_thoughts(QuietStar("DIR", ahead=True), load_shape("DIR"), prompt_tokens=100, new_tokens=256))
"""

from __future__ import annotations

from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import ZERO
from isoflop.cost.shape import ModelShape
from isoflop.quietstar.cost import ThinkingCosts, reference_flops
from isoflop.quietstar.engine import QuietStar, gate_of
from isoflop.thought import Thought

KEPT = Thought(0, (), "", 0.0, "", "")  # it dropped no draft, and nothing waited for it alone


def estimate_thoughts(engine: QuietStar, shape: ModelShape, prompt_tokens: int, new_tokens: int) -> dict[str, int]:
    """Of one thought behind the prompt; FLOPs of a thought before each of the new tokens (where tokens are drafted
    ahead: all drafts kept; `most_flops`: none), and of the same tokens the reference's way."""
    rides = gate_of(engine.think) is None
    costs = ThinkingCosts(Pricer(shape), engine.n_ahead, rides=rides, ahead=engine.ahead)
    one, most = costs.took(prompt_tokens, KEPT), costs.most(prompt_tokens, new_tokens).get("thought", ZERO)
    all_of = costs.prices.ahead(prompt_tokens, new_tokens) if engine.ahead and new_tokens else most
    places = range(prompt_tokens, prompt_tokens + new_tokens)
    return {
        "rows": costs.prices.inputs,
        "chosen_tokens": costs.prices.sampled,
        "forwards": one["thought"].serial_forwards,
        "flops": one["thought"].flops,
        "all_tokens_flops": all_of.flops,
        "most_flops": most.flops,
        "reference_flops": sum(reference_flops(shape, n_ahead=engine.n_ahead, context=place) for place in places),
    }


def explain_thoughts(engine: QuietStar, shape: ModelShape, prompt_tokens: int, new_tokens: int) -> str:
    """The lines below those of the plain model."""
    if engine.think == "never":
        return "Thoughts: none (think='never')"
    found = estimate_thoughts(engine, shape, prompt_tokens, new_tokens)
    plain = Pricer(shape).decode(prompt_tokens, max(0, new_tokens - 1)) or 1
    rows = f"{found['rows']} rows, {found['chosen_tokens']} tokens chosen, {found['forwards']} forwards more"
    times = found["all_tokens_flops"] / plain
    lines = [
        f"Thoughts: {engine}",
        f"  one           behind {prompt_tokens} tokens: {rows} = {found['flops'] / 1e9:.4g} GFLOPs",
        f"  all           {new_tokens} = {found['all_tokens_flops'] / 1e12:.4g} TFLOPs, {times:.2f} times the decoding",
    ]
    if engine.ahead:
        lines.append(f"  drafts        all kept; where none is kept {found['most_flops'] / 1e12:.4g} TFLOPs")
    if engine.think != "always":
        lines.append(f"  think         {engine.think}: fewer tokens have one; this is the most")
    reference = f"{found['reference_flops'] / 1e12:.4g} TFLOPs, without a cache and with the plain model's share"
    return "\n".join([*lines, f"  reference     {reference}"])
