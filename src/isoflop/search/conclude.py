"""From a finished search to an attempt: read the answers, vote, verify, close the books.

Ties are broken by a generator seeded from (seed, problem), never by order, and reported. A candidate whose answer
cannot be verified counts as wrong and is listed as such.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isoflop.answers.aggregate import aggregate
from isoflop.answers.base import Extracted, Verdict
from isoflop.answers.vote import Vote, vote
from isoflop.core import Attempt, Candidate, Outcome, StepEnd, Stop, Trajectory
from isoflop.errors import RewardError
from isoflop.randomness import stream_key
from isoflop.search.live import Live

_OUTCOMES = {
    Verdict.CORRECT: Outcome.CORRECT,
    Verdict.WRONG: Outcome.WRONG,
    Verdict.UNVERIFIABLE: Outcome.UNVERIFIABLE,
}


def unscored(live: Live) -> list[Trajectory]:
    """Candidates whose vote needs a reward that nobody has asked for yet."""
    if live.job.strategy.vote == "majority" or live.stop is Stop.ERROR:
        return []
    return [node for node in dict.fromkeys(live.candidates) if node not in live.step_rewards]


def conclude(live: Live, ended: float) -> Attempt:
    """The attempt of a search that has ended."""
    job = live.job
    read = [job.grader.extract(node.visible_text) for node in live.candidates]
    labels = job.grader.cluster([None if found is None else found.text for found in read])
    candidates, won = _voted(live, read, labels)
    chosen = None if won is None or won.label is None else won.index
    answer = None if chosen is None else candidates[chosen].answer
    stop, message = live.stop, live.message
    if stop is Stop.FINISHED and not candidates:
        stop, message = Stop.NO_CANDIDATES, "the strategy returned nothing to vote on"
    elif stop is Stop.FINISHED and any(_cut_by_depth(live, node) for node in live.candidates):
        stop, message = Stop.DEPTH, f"a path reached max_steps={job.sampling.max_steps} and was force-closed"
    elif stop is Stop.FINISHED and (cut := sum(not node.finished for node in live.candidates)):
        message = f"{cut} of {len(candidates)} candidates were cut and not closed, as {job.strategy.spec_name} has it"
    seconds = ended - live.started
    return Attempt(
        key=job.key,
        problem=job.problem,
        seed=job.seed,
        stop=stop,
        message=message,
        nodes=tuple(live.nodes),
        rewards=_node_rewards(live),
        candidates=candidates,
        chosen=chosen,
        answer=answer,
        tied=() if won is None else won.tied,
        outcome=_outcome(live, stop, None if chosen is None else candidates[chosen]),
        spent=live.book.spent.by_role(),
        charged=live.book.charged(),
        seconds=seconds,
        overshoot_seconds=max(0.0, seconds - job.budget.seconds) if job.budget.seconds else 0.0,
        node_costs=tuple(
            replace(cost, reward_flops=live.scoring_flops[node]) if node in live.scoring_flops else cost
            for node, cost in zip(live.nodes, live.costs, strict=True)
        ),
    )


def _voted(
    live: Live, read: list[Extracted | None], labels: list[str | None]
) -> tuple[tuple[Candidate, ...], Vote | None]:
    strategy = live.job.strategy
    rewards = [live.step_rewards.get(node) for node in live.candidates]
    weights = [None if each is None else aggregate(each, strategy.aggregate) for each in rewards]
    place = {node: index for index, node in enumerate(live.nodes)}
    verified = {found.text: _verify(live, found.text) for found in read if found is not None}
    candidates = tuple(
        Candidate(
            node=place[node],
            answer=None if found is None else found.text,
            label=label,
            weight=weight,
            fallback=found is not None and found.is_fallback,
            outcome=Outcome.NO_ANSWER if found is None else verified[found.text],
        )
        for node, found, label, weight in zip(live.candidates, read, labels, weights, strict=True)
    )
    if not candidates:
        return (), None
    rng = np.random.default_rng(stream_key(live.job.seed, f"vote|{live.job.problem.id}", ()))
    try:
        return candidates, vote(strategy.vote, list(zip(labels, weights, strict=True)), rng)
    except RewardError:
        if live.stop is not Stop.ERROR:
            raise
        return candidates, None


def _verify(live: Live, answer: str) -> Outcome:
    gold = live.job.problem.answer
    return Outcome.UNGRADED if gold is None else _OUTCOMES[live.job.grader.verify(answer, gold)]


def _outcome(live: Live, stop: Stop, chosen: Candidate | None) -> Outcome:
    if stop is Stop.ERROR:
        return Outcome.ERROR
    if live.job.problem.answer is None:
        return Outcome.UNGRADED
    return Outcome.NO_ANSWER if chosen is None else chosen.outcome


def _cut_by_depth(live: Live, node: Trajectory) -> bool:
    closed = node.step is not None and node.step.end is StepEnd.CLOSED
    return closed and node.depth > live.job.sampling.max_steps


def _node_rewards(live: Live) -> tuple[float | None, ...]:
    """Each node's own step reward, from the rewards of any path that ran through it."""
    own: dict[Trajectory, float] = {}
    for trajectory, rewards in live.step_rewards.items():
        node: Trajectory | None = trajectory
        for reward in reversed(rewards):
            if node is None or node in own:
                break
            own[node] = reward
            node = node.parent
    return tuple(own.get(node) for node in live.nodes)
