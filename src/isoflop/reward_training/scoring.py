"""Rewards asked about stored solutions: nothing is generated, and a head on the policy's states reads them anew.

    scores = score(reward_spec, solutions)          # for each solution one number a step

A reward that reads text needs no tokens. `trunk(path)` needs the policy's: its read-outs come from one forward of each
solution, whatever the number of heads. It judges nothing (`judging.py` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, StepEnd, Trajectory
from isoflop.reward_training.labels import LabelledSolution
from isoflop.rewards.base import RewardContext, RewardSpec

if TYPE_CHECKING:
    import torch

AT_ONCE = 64  # solutions a reward is asked about together
StepRewards = tuple[float, ...]


def score(
    spec: RewardSpec, solutions: Sequence[LabelledSolution], states: PolicyStates | None = None
) -> list[StepRewards]:
    """Every step's reward. Raises what the reward raises: an unscored step is never 0. `states`: of these solutions."""
    reads: list[StepRewards] = [()] * len(solutions)
    if spec.head is not None:
        reads = (states or PolicyStates(solutions)).read_by(spec.head)
    found: list[StepRewards] = []
    with closing(spec.open(RewardContext())) as reward:
        for start in range(0, len(solutions), AT_ONCE):
            part = range(start, min(start + AT_ONCE, len(solutions)))
            paths = [trajectory(solutions[number], number, reads[number]) for number in part]
            found += reward.score(paths).rewards
            for path in paths:
                reward.release(path.origin.search)
    return found


def trajectory(solution: LabelledSolution, number: int, reads: StepRewards = ()) -> Trajectory:
    """The solution as a reward is shown it; `number` tells its samples apart, `reads` are its steps' read-outs."""
    problem = Problem(solution.problem, solution.question, solution.gold)
    node = Trajectory.at(Origin(problem, Prompt(), solution.prompt, (), solution.seed, f"{solution.problem}/{number}"))
    for place, step in enumerate(solution.steps):
        end = StepEnd.END if place + 1 == len(solution.steps) else StepEnd.DELIMITER
        own = (reads[place],) if reads else ()
        made = Step(step.text, step.tokens, step.logprobs, step.forced, end, step.channel, own)
        node = node.extend(made, number if place == 0 else 0)
    return node


class PolicyStates:
    """The hidden states of solutions in the models that heads read: computed once, whatever the number of heads."""

    def __init__(self, solutions: Sequence[LabelledSolution], *, dtype: str = "auto", device: str = "auto") -> None:
        self.solutions, self.dtype, self.device = solutions, dtype, device
        self._by_trunk: dict[str, list[torch.Tensor]] = {}

    def read_by(self, folder: str) -> list[StepRewards]:
        """What a head reads at every step, as an engine with that head would have read it."""
        from isoflop.rewards.head_folder import load_head

        head = load_head(folder)
        if head.trunk not in self._by_trunk:
            self._by_trunk[head.trunk] = self._computed(head.trunk)
        weight_D, bias = head.weight_1D[0].float(), float(head.bias_1)
        return [tuple((each_RD.float() @ weight_D + bias).tolist()) for each_RD in self._by_trunk[head.trunk]]

    def _computed(self, trunk: str) -> list[torch.Tensor]:
        from isoflop.reward_training.examples import policy_passage, policy_tokens
        from isoflop.reward_training.hidden import StateReader, context_of
        from isoflop.runtime.loading import load_model, load_tokenizer

        tokenizer, model = load_tokenizer(trunk), load_model(trunk, dtype=self.dtype, device=self.device)
        tokens = policy_tokens(model, tokenizer)
        passages = [policy_passage(solution, tokens) for solution in self.solutions]
        return StateReader(model, context_tokens=context_of(passages)).read(passages)
