"""Does a job fit its engine and its reward? What would run but be wrong is refused, before a token is made.

refuse_unfit(job, engine)
"""

from __future__ import annotations

from isoflop.engines.base import Capabilities, Engine
from isoflop.errors import SpecError
from isoflop.search.job import Job


def refuse_unfit(job: Job, engine: Engine) -> None:
    """Raise SpecError where the strategy needs what its reward or the engine cannot give."""
    strategy, reward = job.strategy, job.reward
    if strategy.needs_reward and reward is None:
        raise SpecError(f"strategy {strategy} needs a reward and the arm has none; for example reward='logprob()'")
    if strategy.guided and reward is not None and not reward.guides_search:
        raise SpecError(
            f"strategy {strategy} steers by step rewards, and this reward judges complete solutions only "
            "(outcome(...) or judge(...) with each_step=False, or oracle() without an exact step oracle): it may "
            "select (best_of_n, weighted_vote), not steer; to steer with a reward model leave each_step=False out"
        )
    if reward is not None and reward.head not in (None, engine.capabilities.readout):
        read = engine.capabilities.readout
        raise SpecError(
            f"the reward reads the policy's states by the head {reward.head!r}, and this engine "
            f"{'reads none' if read is None else f'reads by {read!r}'}; open it with readout={reward.head!r}"
        )
    _refuse_lacks(job, engine.capabilities)


def _refuse_lacks(job: Job, can: Capabilities) -> None:
    strategy, reward = job.strategy, job.reward
    if not can.continues and not strategy.pooled:
        raise SpecError(
            f"strategy {strategy} goes on from partial solutions, which this engine cannot: it only answers whole "
            "(a chat whose server does not go on with what an assistant has begun, or imported samples). Use "
            "api='completions' where the server has it, or a strategy of whole samples: greedy, best_of_n, ..."
        )
    if not can.logprobs and strategy.reads_logprobs:
        raise SpecError(f"strategy {strategy} goes by the tokens' log-probabilities, and this engine gives none")
    if not can.logprobs and reward is not None and reward.reads_logprobs:
        raise SpecError(
            f"strategy {strategy} is to be rewarded by the tokens' log-probabilities (logprob()), and this engine "
            "gives none; name another reward, or a server that returns them"
        )
