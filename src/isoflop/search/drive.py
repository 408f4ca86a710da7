"""The driver: runs many searches at once over one engine, and turns each into an attempt.

It is event-driven: a search's requests go to the engine as soon as it asks, and it goes on as soon as *its own* replies
are in; no search waits for another's slowest branch. Jobs come in chains; the jobs of a chain run one after another, so
that arms which share a pool of samples find it filled. The driver decides nothing and counts nothing itself.

    for attempt in drive([[job]], engine, concurrency=16):
        print(attempt.answer, attempt.outcome)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from isoflop.core import Attempt, Origin
from isoflop.cost.ledger import Cost, Ledger, Role
from isoflop.engines.base import Engine
from isoflop.errors import RewardError
from isoflop.rewards.base import Reward, scores_of
from isoflop.search.base import Score
from isoflop.search.conclude import conclude, unscored
from isoflop.search.fit import refuse_unfit
from isoflop.search.job import Job
from isoflop.search.live import Live

Chain = Iterator[Job]


def drive(
    chains: Iterable[Sequence[Job]],
    engine: Engine,
    *,
    concurrency: int = 16,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Attempt]:
    """Run chains of jobs, `concurrency` chains at a time. Yields each attempt as soon as it has ended.

    Raises SpecError for a job whose strategy needs what the engine or the reward cannot give. A search that fails comes
    back as an attempt with `Stop.ERROR`; the others go on.
    """
    return Driver(engine, clock).run(chains, concurrency)


class Driver:
    """All searches in flight over one engine. `running` maps each to the rest of its chain."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine, self.clock = engine, clock
        self.running: dict[Live, Chain] = {}
        self._ids = count(1)
        self._searches = count(1)
        self._owners: dict[int, Live] = {}
        self._timed: set[Live] = set()

    def run(
        self, chains: Iterable[Sequence[Job]], concurrency: int, every_turn: Callable[[], None] | None = None
    ) -> Iterator[Attempt]:
        """As `drive`. `every_turn` is called each time the engine has advanced (for a heartbeat with `in_flight`)."""
        waiting = iter(chains)
        exhausted = False
        while True:
            while not exhausted and len(self.running) < concurrency:
                chain = next(waiting, None)
                exhausted = chain is None
                if chain is not None:
                    yield from self.advance(iter(chain))
            if not self.running:
                return
            yield from self.turn()
            if every_turn is not None:
                every_turn()

    def in_flight(self) -> dict[Role, Cost]:
        """What all unfinished searches together have spent so far."""
        together = Ledger()
        for live in self.running:
            together.charge_all(live.book.spent.by_role())
        return together.by_role()

    def turn(self) -> Iterator[Attempt]:
        """One round: score what asks for it, let the engine advance, hand out what is finished.

        What follows from the scores goes out first: a poll may wait, and the engine would have less to do meanwhile.
        """
        for live in self._score():
            yield from self._after(live)
        touched: dict[Live, None] = {}
        for generation in self.engine.poll() if self._owners else ():
            live = self._owners.pop(generation.id)
            live.receive(generation)
            touched[live] = None
            if generation.error is not None and live.growths:
                self.engine.cancel(list(live.growths))  # the search has failed: its other branches are lost, too
        touched.update(self._timed_out())
        for live in touched:
            yield from self._after(live)

    def advance(self, chain: Chain) -> Iterator[Attempt]:
        """Start the chain's next job; jobs that end at once are followed by the next."""
        job = next(chain, None)
        if job is None:
            return
        refuse_unfit(job, self.engine)
        live = Live(job, self.engine, self._origin(job), self._ids, self.clock())
        self.running[live] = chain
        if job.budget.seconds is not None:
            self._timed.add(live)
        live.start()
        yield from self._after(live)

    def _after(self, live: Live) -> Iterator[Attempt]:
        """Send what the search asks for; if it has ended, score its candidates, vote, and go on with its chain."""
        if live.outbox:
            for request in live.outbox:
                self._owners[request.id] = live
            self.engine.submit(live.outbox)
            live.outbox = []
        if not live.ended or live.asked is not None or live.growths:
            return
        missing = unscored(live)
        if missing:
            live.asked = Score(missing)
            return
        chain = self.running.pop(live)
        self._timed.discard(live)
        attempt = conclude(live, self.clock())
        self.engine.release(live.root.origin.search)
        if live.job.reward is not None:
            live.job.reward.release(live.root.origin.search)
        yield attempt
        yield from self.advance(chain)

    def _score(self) -> dict[Live, None]:
        """Ask each reward once for all searches that wait for it; if that fails, one by one."""
        asking: dict[int, tuple[Reward, list[Live]]] = {}
        for live in self.running:
            if live.asked is not None and live.job.reward is not None:
                asking.setdefault(id(live.job.reward), (live.job.reward, []))[1].append(live)
        touched: dict[Live, None] = {}
        for reward, lives in asking.values():
            touched.update(dict.fromkeys(lives))
            self._score_together(reward, lives)
        return touched

    def _score_together(self, reward: Reward, lives: Sequence[Live]) -> None:
        wanted = [list(live.asked.trajectories) if live.asked else [] for live in lives]
        try:
            scores = scores_of(reward, [trajectory for each in wanted for trajectory in each])
        except RewardError as error:
            if len(lives) == 1:
                lives[0].unrewarded(str(error))
                return
            for live in lives:
                self._score_together(reward, [live])
            return
        start = 0
        for live, each in zip(lives, wanted, strict=True):
            end = start + len(each)
            try:
                live.rewarded(scores.part(start, end))
            except RewardError as error:
                live.unrewarded(str(error))
            start = end

    def _timed_out(self) -> dict[Live, None]:
        """Stop searches whose seconds are over; what they have in flight comes back cancelled."""
        now = self.clock() if self._timed else 0.0
        over: dict[Live, None] = {}
        for live in list(self._timed):
            limit = live.job.budget.seconds
            if limit is not None and now - live.started >= limit:
                self._timed.discard(live)
                live.run_out_of_time(limit)
                self.engine.cancel(list(live.growths))
                over[live] = None
        return over

    def _origin(self, job: Job) -> Origin:
        text = self.engine.render(job.prompt)
        tokens = self.engine.encode(text, prompt=True)
        return Origin(job.problem, job.prompt, text, tokens, job.seed, f"search-{next(self._searches)}")
