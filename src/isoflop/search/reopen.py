"""Taking back the end of a complete trajectory, so that it can go on (budget forcing, arXiv 2501.19393).

What a head read of a step stays as it was read when the step ended.

base = reopened(trajectory, engine)      # the same text, without end-of-sequence, stop string or closing think mark
"""

from __future__ import annotations

from dataclasses import replace

from isoflop.core import Channel, Step, StepEnd, Trajectory
from isoflop.engines.base import Engine


def reopened(node: Trajectory, engine: Engine, index: int) -> Trajectory:
    """The trajectory without its ending, as the `index`-th child of its parent; an open one comes back as it is."""
    step, parent = node.step, node.parent
    if step is None or parent is None:
        return node
    kept = _without_mark(step, node, engine) if step.channel is Channel.THINK else _without_tail(step)
    if kept is step:
        return node
    return parent.extend(kept, index) if kept.tokens else parent


def _without_tail(step: Step) -> Step:
    """Without the trailing tokens that the text leaves out anyway."""
    if step.end is not StepEnd.END:
        return step
    return _cut(step, step.trailing, step.text)


def _without_mark(step: Step, node: Trajectory, engine: Engine) -> Step:
    """Without the closing think mark, which tokenizers of reasoning models keep as tokens of their own."""
    think = node.origin.prompt.markers.think
    if think is None or node.thinking or think[1] not in step.text:
        return _without_tail(step)
    text = step.text[: step.text.rindex(think[1])]
    mark = engine.encode(step.text[len(text) :])
    if step.tokens[len(step.tokens) - len(mark) :] == mark:
        return _cut(step, len(mark), text)
    # The mark shares a token with other text: what is left is encoded anew and counts as forced.
    tokens = engine.encode(text)
    return Step(text, tokens, (), len(tokens), StepEnd.CAP, step.channel, step.readouts)


def _cut(step: Step, dropped: int, text: str) -> Step:
    kept = len(step.tokens) - dropped
    sampled = max(0, kept - step.forced)
    return replace(
        step,
        text=text,
        tokens=step.tokens[:kept],
        logprobs=step.logprobs[:sampled],
        forced=min(step.forced, kept),
        trailing=0,
        end=StepEnd.CAP,
    )
