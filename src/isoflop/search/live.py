"""One search in flight: its tree, its open requests, its books, and the reply that its strategy is waiting for.

The driver moves generations in and requests out; everything that concerns a single search happens here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from isoflop.answers.base import graded
from isoflop.core import Origin, Outcome, Stop, Trajectory
from isoflop.cost.ledger import NodeCost
from isoflop.engines.base import Engine, Generation, GenerationRequest, Until
from isoflop.errors import SpecError
from isoflop.rewards.base import Scores, check_rewards
from isoflop.search.base import Close, Continue, Expand, Grade, Read, Score, Search
from isoflop.search.book import Book, divided
from isoflop.search.caps import Caps, Share
from isoflop.search.growth import Closers, Growth, distinct, next_stage, to_closing, to_request
from isoflop.search.job import Job
from isoflop.search.reopen import reopened


class Live:
    """The state of one search.

    `outbox` holds requests for the engine, `asked` a Score waiting for the reward; `ended` is True when `candidates`,
    `stop` and `message` are final.
    """

    def __init__(self, job: Job, engine: Engine, origin: Origin, ids: count[int], started: float) -> None:
        self.job, self.engine, self.ids, self.started = job, engine, ids, started
        self.root = Trajectory.at(origin)
        self.book = Book(engine)
        self.nodes: list[Trajectory] = []
        self.costs: list[NodeCost] = []  # of the nodes, but for scoring
        self.step_rewards: dict[Trajectory, tuple[float, ...]] = {}
        self.scoring_flops: dict[Trajectory, int] = {}
        self.outbox: list[GenerationRequest] = []
        self.growths: dict[int, Growth] = {}
        self.asked: Score | None = None
        self.ended = False
        self.candidates: tuple[Trajectory, ...] = ()
        self.stop, self.message = Stop.FINISHED, ""
        self._closers = Closers(job, engine.encode)
        self._caps = Caps(engine, job, self._closers.longest)
        self._search: Search = job.strategy.search(self.root)
        self._children: dict[Trajectory, int] = {}
        self._reply: list[Any] = []
        self._longest = self._most_waited = 0

    def start(self) -> None:
        """Check that the prompt fits, then run the strategy to its first request."""
        need = self._closers.longest + self.job.sampling.answer_tokens + 1
        if self.engine.context_tokens - self.root.length < need:
            self.halt(
                Stop.NO_CANDIDATES,
                f"the prompt has {self.root.length} tokens; with the {need} that an answer needs it does not fit into "
                f"the model's context of {self.engine.context_tokens}",
            )
            return
        self._resume(None)

    def receive(self, generation: Generation) -> None:
        """Take what one request made; go on with the strategy if it was the last one waited for."""
        growth = self.growths.pop(generation.id)
        forced = len(growth.forced)
        sampled = max(0, sum([len(step.tokens) for step in generation.steps]) - forced)
        before = self.book.flops
        self.book.made(generation, growth.node.length + forced, sampled)
        growth.waited += self.book.thought(generation, growth.node, growth.forced)
        costs = divided(growth.reading, self.book.flops - before, generation)
        for step, cost in zip(generation.steps, costs, strict=True):
            self._children[growth.node] = max(self._children.get(growth.node, 0), growth.index + 1)
            growth.node = self._add(growth.node.extend(step, growth.index), cost)
            growth.index = 0
        growth.left -= sampled
        growth.forwards += sampled
        growth.forced, growth.forced_text = (), ""
        if generation.error is not None and self.stop is Stop.FINISHED:
            self.stop, self.message = Stop.ERROR, generation.error
        running = self.stop is Stop.FINISHED and not generation.cancelled
        if running and next_stage(growth, self.job, self._closers):
            self._launch(growth)
            return
        growth.reply[growth.position] = growth.node
        self._longest = max(self._longest, growth.forwards)
        self._most_waited = max(self._most_waited, growth.waited)
        if not self.growths:
            self._settle()

    def rewarded(self, scores: Scores) -> None:
        """Take the rewards that were asked for and go on. Raises RewardError for what is no reward."""
        assert self.asked is not None
        asked, self.asked = self.asked.trajectories, None
        flops = [self.book.scored(*costs) for costs in zip(scores.spent, scores.charged, strict=True)]
        for node, more in zip(asked, flops, strict=False):  # nothing is told of scoring that is free
            self.scoring_flops[node] = self.scoring_flops.get(node, 0) + more
        for trajectory, rewards in zip(asked, scores.rewards, strict=True):
            check_rewards(trajectory, rewards)
            self.step_rewards[trajectory] = rewards
        if self._overspent():
            return
        self._resume(list(scores.rewards))

    def unrewarded(self, message: str) -> None:
        """The reward failed: stop, with what it computed on the books."""
        if self.job.reward is not None:
            self.book.scored(*self.job.reward.untold(self.root.origin.search))
        self.halt(Stop.ERROR, message)

    def halt(self, stop: Stop, message: str) -> None:
        """Stop here; the vote takes what is complete."""
        self._search.close()
        self.stop, self.message, self.ended, self.asked = stop, message, True, None
        self.outbox.clear()
        self.candidates = tuple(node for node in self.nodes if node.finished)

    def _overspent(self) -> bool:
        """Whether scoring took more than the reward foresaw, so that the budget is broken: then the search stops."""
        limit = self.job.budget.flops
        if limit is None or self.book.flops <= limit or self.stop is not Stop.FINISHED:
            return False
        message = f"scoring took more FLOPs than the reward foresaw: {self.book.flops:g}, the budget is {limit:g}"
        if self.ended:
            self.stop, self.message = Stop.BUDGET, message
        else:
            self.halt(Stop.BUDGET, message)
        return True

    def run_out_of_time(self, limit_seconds: float) -> None:
        """The clock has run out. What is in flight comes back cancelled; the search ends when it has."""
        self.stop, self.message = Stop.BUDGET, f"the budget of {limit_seconds:g} seconds is over"
        if not self.growths:
            self.halt(self.stop, self.message)

    def labels(self, trajectories: Sequence[Trajectory]) -> list[str | None]:
        """What each trajectory votes for; None where no answer can be read."""
        read = [self.job.grader.extract(node.visible_text) for node in trajectories]
        return self.job.grader.cluster([None if found is None else found.text for found in read])

    def _grades(self, trajectories: Sequence[Trajectory]) -> list[Outcome]:
        strategy = self.job.strategy
        if not strategy.sees_gold:
            raise SpecError(f"strategy {strategy} asks for grades, which would leak the gold answer into its search")
        return [graded(self.job.grader, self.job.problem, node.visible_text) for node in trajectories]

    def _settle(self) -> None:
        """All requests of the strategy's last question are answered."""
        self.book.waited(self._longest, self._most_waited)
        self._longest = self._most_waited = 0
        if self.stop is Stop.FINISHED:
            self._resume(self._reply)
        else:
            self.halt(self.stop, self.message)

    def _resume(self, reply: Any) -> None:
        """Send replies to the strategy until it asks for something that takes time, or ends."""
        while not self.ended:
            try:
                request = self._search.send(reply)
            except StopIteration as end:
                if not self.job.strategy.closes or all(node.finished for node in end.value):
                    self.candidates, self.ended = tuple(end.value), True
                    return
                self._search, reply = _closed(end.value), None
                continue
            if isinstance(request, Read):
                reply = self.labels(request.trajectories)
            elif isinstance(request, Grade):
                reply = self._grades(request.trajectories)
            elif isinstance(request, Score) and request.trajectories:
                self.asked = request
                return
            elif isinstance(request, Score):
                reply = []
            else:
                self._grow(request)
                reply = self._reply
                if self.growths:
                    return

    def _grow(self, request: Expand | Continue | Close) -> None:
        """Start all growths of one request, or stop where the budget does not allow them."""
        growths = self._growths(request)
        share = self._share(growths)
        for growth in growths:
            if growth.closing:
                fits = self._caps.can_close(growth.node, share)
            else:
                growth.left = min(growth.left, self._caps.of(growth.node, len(growth.forced), share))
                fits = growth.left >= 1
                if not fits and growth.close and self._caps.room(growth.node) - len(growth.forced) < 1:
                    # Not the budget but the trajectory's own limit: nothing is left but to answer.
                    growth.forced, growth.forced_text = (), ""
                    to_closing(growth, self.job, self._closers)
                    fits = self._caps.can_close(growth.node, share)
            if not fits:
                self._run_out(growths)
                return
        for growth in growths:
            self._launch(growth)

    def _growths(self, request: Expand | Continue | Close) -> list[Growth]:
        """What a request asks to grow; `self._reply` becomes the reply that the growths fill."""
        sampling = self.job.sampling
        if isinstance(request, Expand):
            self._reply = [[None] * width for width in request.widths]
            temperature = sampling.temperature if request.temperature is None else request.temperature
            limit = request.max_tokens or sampling.max_tokens
            return [
                Growth(row, slot, node, self._index(node), request.until, temperature, limit, request.close)
                for node, row in zip(request.parents, self._reply, strict=True)
                for slot in range(len(row))
            ]
        self._reply = list(request.trajectories)
        warm = sampling.temperature
        if isinstance(request, Close):
            opened = [(slot, node) for slot, node in enumerate(self._reply) if not node.finished]
            growths = [Growth(self._reply, i, n, self._index(n), Until.END, warm, 0, True) for i, n in opened]
            for growth in growths:
                to_closing(growth, self.job, self._closers)
            return growths
        forced, limit = self.engine.encode(request.text), request.max_tokens or sampling.max_tokens
        bases = [self._reopen(node) for node in request.trajectories]
        given = (request.until, warm, limit, request.close, forced, request.text)
        return [Growth(self._reply, slot, base, self._index(base), *given) for slot, base in enumerate(bases)]

    def _reopen(self, node: Trajectory) -> Trajectory:
        base = reopened(node, self.engine, self._children.get(node.parent, 0) if node.parent else 0)
        if base is not node and base is not node.parent:
            self._index(base.parent or self.root)
            self._add(base, NodeCost())
        return base

    def _share(self, growths: Sequence[Growth]) -> Share:
        """An even share of what the budget leaves once the growths' parents have been read."""
        budget, children = self.job.budget, max(1, len(growths))
        tokens = None if budget.tokens is None else (budget.tokens - self.book.new_tokens) // children
        if budget.flops is None:
            return Share(tokens, None)
        unread = [self.book.unread(node) for node in distinct([growth for growth in growths if not growth.forced])]
        reading = sum(
            cost.flops for start, known in unread if known for cost in self.engine.prefill_cost(start, known).values()
        )
        return Share(tokens, (budget.flops - self.book.flops - reading) / children)

    def _run_out(self, growths: Sequence[Growth]) -> None:
        """The budget is spent: make as many of the open ends answer now as it still allows, then stop."""
        self.stop, self.message = Stop.BUDGET, f"the budget ({self.job.budget}) leaves no room for {len(growths)} more"
        ends = [node for node in distinct(growths) if not node.finished]
        while ends:
            self._reply = list(ends)
            closing = [Growth(self._reply, i, n, self._index(n), Until.END, 0.0, 0, True) for i, n in enumerate(ends)]
            for growth in closing:
                to_closing(growth, self.job, self._closers)
            share = self._share(closing)
            if all(self._caps.can_close(growth.node, share) for growth in closing):
                for growth in closing:
                    self._launch(growth)
                return
            ends.pop()
        self.halt(self.stop, self.message)

    def _launch(self, growth: Growth) -> None:
        request = to_request(growth, self.job, next(self.ids))
        growth.reading = self.book.read(growth.node, len(growth.forced))
        self.growths[request.id] = growth
        self.outbox.append(request)

    def _index(self, node: Trajectory) -> int:
        """The next child index under `node`."""
        index = self._children.get(node, 0)
        self._children[node] = index + 1
        return index

    def _add(self, node: Trajectory, cost: NodeCost) -> Trajectory:
        self.nodes.append(node)
        self.costs.append(cost)
        return node


def _closed(open_ends: Sequence[Trajectory]) -> Search:
    """A last request for strategies that return paths which are not complete."""
    return (yield Close(open_ends))  # type: ignore[no-any-return]
