"""REBASE that shares its width by a calibrated chance, against a softmax whose temperature was tuned on the same dev.

No model: the scripted engine rolls dice (5 steps, each right with probability 0.6), and the reward sees through a noise
of its own whether a prefix is right so far. Rewards differ in how much they know (the distance of right and wrong in
noise deviations) and in how they say it (as a probability, four times too sure, seven times too timid, or far too low).
For each, dev problems give the Platt fit (steps of independent samples, right or wrong) and the temperature (the one
that gets most dev problems right); test problems, untouched until then, give accuracies and paired tests. The vote is
by majority, so that the reward decides the widths alone. Everything is seeded; problems share their luck between arms.

    python benchmarks/calibrated_rebase.py [--dev 500] [--test 2000] [--width 8] [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Outcome, Problem, Trajectory
from isoflop.engines.scripted import Scripted
from isoflop.randomness import stream_key, uniform
from isoflop.rewards.base import Reward, Scores
from isoflop.search.drive import drive
from isoflop.search.job import Job
from isoflop.stats.calibration import Platt, fit_platt
from isoflop.stats.discrimination import auc
from isoflop.stats.intervals import wilson
from isoflop.stats.paired import holm, mcnemar

ENGINE = Scripted(steps=5, skill=0.6)
TEMPERATURES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
EVEN = 1e6  # a temperature at which all rewards are alike
PAPER = 0.1
# name: (distance of right and wrong from the middle in noise deviations, factor on the honest logit, added to it)
REWARDS = {
    "honest, strong": (1.0, 1.0, 0.0),
    "honest, weak": (0.4, 1.0, 0.0),
    "too sure": (0.7, 4.0, 0.0),
    "timid": (0.7, 0.15, 0.0),
    "far too low": (0.7, 1.0, -5.0),
    "knows nothing": (0.0, 1.0, 0.0),
}


class Noisy(Reward):
    """Of each prefix: sigmoid(factor * log-odds of right given what is seen + shift)."""

    def __init__(self, distance: float, factor: float, shift: float, seed: int) -> None:
        self._distance, self._factor, self._shift, self._seed = distance, factor, shift, seed
        self._known: dict[str, dict[Trajectory, float]] = {}  # by search

    def score(self, trajectories: Sequence[Trajectory]) -> Scores:
        """Root to leaf."""
        return Scores(tuple(tuple(self._of(node) for node in line(each)) for each in trajectories))

    def release(self, search: str) -> None:
        """Forget the search."""
        self._known.pop(search, None)

    def _of(self, node: Trajectory) -> float:
        known = self._known.setdefault(node.origin.search, {})
        if node not in known:
            key = stream_key(self._seed, f"noise|{node.origin.problem.id}", node.path)
            noise = NormalDist().inv_cdf(min(max(uniform(key, node.depth), 1e-12), 1 - 1e-12))
            if self._distance:
                seen = (self._distance if is_right(node) else -self._distance) + noise
                logit = 2 * self._distance * seen
            else:
                logit = noise
            known[node] = 1 / (1 + math.exp(-(self._factor * logit + self._shift)))
        return known[node]


def line(leaf: Trajectory) -> list[Trajectory]:
    """The nodes from the first step on."""
    found: list[Trajectory] = []
    node: Trajectory | None = leaf
    while node is not None and node.step is not None:
        found.append(node)
        node = node.parent
    return found[::-1]


def is_right(node: Trajectory) -> bool:
    """No step so far has slipped."""
    return all(" slips " not in step.text or " slips 0" in step.text for step in node.steps)


def search(strategy: str, reward: Reward, problems: Sequence[str], seed: int) -> tuple[dict[str, bool], float]:
    """Whether each problem's vote is right, and the new tokens of a problem."""
    parsed, prompt, grader = specs.parse("strategy", strategy), Prompt(text="How much?\n"), MathGrader(fallback=None)
    jobs = [
        [Job(name, Problem(name, "How much?", "1000"), prompt, parsed, SamplingParams(), seed, grader, reward)]
        for name in problems
    ]
    attempts = list(drive(jobs, ENGINE.open(), concurrency=32))
    tokens = sum(attempt.charged["policy"].new_tokens for attempt in attempts)
    return {a.key: a.outcome is Outcome.CORRECT for a in attempts}, tokens / len(attempts)


def fitted(reward: Reward, problems: Sequence[str], seed: int) -> tuple[Platt, float]:
    """A fit to the steps of independent samples, one of each problem, and the reward's AUC there."""
    parsed, prompt, grader = specs.parse("strategy", "self_consistency(n=1)"), Prompt(text="How much?\n"), MathGrader()
    jobs = [
        [Job(name, Problem(name, "How much?", "1000"), prompt, parsed, SamplingParams(), seed, grader)]
        for name in problems
    ]
    nodes = [node for attempt in drive(jobs, ENGINE.open()) for node in attempt.nodes]
    [rewards] = zip(*((each[-1],) for each in reward.score(nodes).rewards), strict=True)
    right = [is_right(node) for node in nodes]
    return fit_platt(rewards, right, source=f"{len(nodes)} dev steps"), auc(rewards, right) or 0.5


def main() -> None:
    """Print a line for each reward."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("dev", 500), ("test", 2000), ("width", 8), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    dev = [f"dev-{number}" for number in range(given.dev)]
    test = [f"test-{number}" for number in range(given.test)]
    lines, tests = [], []
    for name, kind in REWARDS.items():
        reward = Noisy(*kind, given.seed)
        fit, area = fitted(reward, dev, given.seed)
        softmax = f"rebase({given.width}, {{}}, vote='majority')"
        scores = {t: sum(search(softmax.format(t), reward, dev, given.seed)[0].values()) for t in TEMPERATURES}
        best = max(TEMPERATURES, key=lambda t: scores[t])
        with tempfile.TemporaryDirectory() as scratch:
            path = str(Path(scratch, "fit.json"))
            fit.save(path)
            calibrated = f"rebase({given.width}, score='calibrated', calibration={path!r}, vote='majority')"
            spellings = {"calibrated": calibrated, "tuned": softmax.format(best)}
            spellings |= {"paper": softmax.format(PAPER), "even": softmax.format(EVEN)}
            told = {arm: search(spelling, reward, test, given.seed) for arm, spelling in spellings.items()}
        ours, theirs = told["calibrated"][0], told["tuned"][0]
        only = [sum(a[k] and not b[k] for k in test) for a, b in ((ours, theirs), (theirs, ours))]
        tests.append(mcnemar(*only))
        lines.append((name, area, best, told, only))
    print(
        f"{given.dev} dev and {given.test} test problems, width {given.width}, seed {given.seed}; "
        "accuracy in %, 95 % intervals"
    )
    for (name, area, best, told, only), p in zip(lines, holm(tests), strict=True):
        shares = []
        for arm, (right, tokens) in told.items():
            share = wilson(sum(right.values()), len(right))
            mean = 100 * sum(right.values()) / len(right)
            shares.append(f"{arm} {mean:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}] ({tokens:.0f} tokens)")
        print(f"{name:14s} AUC {area:.2f}  T {best:g}  {'; '.join(shares)}; only {only[0]} / {only[1]}, Holm p {p:.2g}")


if __name__ == "__main__":
    main()
