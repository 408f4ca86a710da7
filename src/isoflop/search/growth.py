"""A growth: one child on its way from the strategy's question to the reply.

It may take several generations before the strategy sees it: think, force the thinking to close, answer, force-close the
answer. What comes next depends on where the last generation left it, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isoflop.core import StepEnd, Trajectory
from isoflop.cost.ledger import NodeCost
from isoflop.engines.base import GenerationRequest, Until
from isoflop.randomness import stream_key
from isoflop.search.job import Job

NOTHING_READ = NodeCost()


@dataclass(slots=True)
class Growth:
    """Where a child stands (`node`), where its result goes (`reply[position]`), and what it may still sample (`left`).

    `index` is the child index of its next node. `forced` tokens go in before the next sampled one.
    """

    reply: list[Any]
    position: int
    node: Trajectory
    index: int
    until: Until
    temperature: float
    left: int
    close: bool
    forced: tuple[int, ...] = ()
    forced_text: str = ""
    closing: bool = False
    forwards: int = 0
    waited: int = 0  # forwards that went by for its thoughts alone
    reading: NodeCost = NOTHING_READ  # what the generation under way took before its first token


class Closers:
    """The texts that force an end, encoded once per job: closing the thinking, closing the answer, or both."""

    def __init__(self, job: Job, encode: Any) -> None:
        markers = job.prompt.markers
        self._think = markers.think[1] + "\n" if markers.think else ""
        self._prefix = markers.answer_prefix
        self._encode = encode
        self._tokens: dict[str, tuple[int, ...]] = {}
        self.longest = len(self._encoded(self._think + self._prefix))

    def thinking(self) -> tuple[str, tuple[int, ...]]:
        """Text and tokens that close a think block."""
        return self._think, self._encoded(self._think)

    def answer(self, node: Trajectory) -> tuple[str, tuple[int, ...]]:
        """Text and tokens that make `node` answer now. Where a line has just ended, the prefix starts no other."""
        text = self._think + self._prefix if node.thinking else self._prefix
        if node.step is not None and node.step.text.endswith("\n") and not node.thinking:
            text = text.lstrip("\n")
        return text, self._encoded(text)

    def _encoded(self, text: str) -> tuple[int, ...]:
        if text not in self._tokens:
            self._tokens[text] = self._encode(text)
        return self._tokens[text]


def next_stage(growth: Growth, job: Job, closers: Closers) -> bool:
    """Prepare the growth for its next generation; False where it is done and goes to the strategy."""
    node, step = growth.node, growth.node.step
    if step is None or node.finished:
        return False
    thought_out = node.thinking and _think_left(node, job) == 0
    if step.end is StepEnd.CAP and thought_out and growth.left > 0:
        growth.forced_text, growth.forced = closers.thinking()
        return True
    spent = job.sampling.max_tokens - node.num_sampled <= 0 or node.depth >= job.sampling.max_steps
    if growth.close and (step.end is StepEnd.CAP or spent):
        to_closing(growth, job, closers)
        return True
    return False


def to_closing(growth: Growth, job: Job, closers: Closers) -> None:
    """Make the growth's next generation the forced close."""
    growth.forced_text, growth.forced = closers.answer(growth.node)
    growth.closing, growth.left = True, job.sampling.answer_tokens


def to_request(growth: Growth, job: Job, identity: int) -> GenerationRequest:
    """The engine request for the growth's next generation."""
    node, sampling, markers = growth.node, job.sampling, job.prompt.markers
    cap = growth.left
    starts_open = node.thinking or (markers.think is not None and node.num_tokens == 0)
    if sampling.think_tokens is not None and starts_open and not growth.forced:
        cap = min(cap, _think_left(node, job))
    return GenerationRequest(
        id=identity,
        parent=node,
        stream=stream_key(node.origin.seed, node.origin.problem.id, (*node.path, growth.index)),
        temperature=growth.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=max(1, cap),
        until=growth.until,
        forced=growth.forced,
        forced_text=growth.forced_text,
        stop=(*markers.answer_stop, *markers.stop) if growth.closing else None,
        closing=growth.closing,
        child=growth.index,
    )


def distinct(growths: Sequence[Growth]) -> list[Trajectory]:
    """The nodes that growths start from, each once, in order."""
    return list(dict.fromkeys(growth.node for growth in growths))


def _think_left(node: Trajectory, job: Job) -> int:
    limit = job.sampling.think_tokens
    return job.sampling.max_tokens if limit is None else max(0, limit - node.num_sampled)
