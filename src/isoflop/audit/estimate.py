"""What a published configuration computed for a question, estimated from the tokens that its FLOPs stand for.

The logs hold no token counts, but the study's FLOPs are a whole number of tokens times a fixed price. Estimates, with
what they assume: a prompt of `prompt_tokens`; the samples of a question equally long (a lower bound for code without a
cache, whose FLOPs grow with the square of the length); every node of a search below the prompt itself (the logs say
93 to 99% of leaves are). A search's tokens are an upper bound: a node is charged its full 96 tokens, and a child its
parent's again.

    estimated(Ran(samples=6), tokens=1467, prompt_tokens=80, shape=MISTRAL_7B).as_run      # FLOPs

What each configuration ran was read in the study's published code (arXiv 2412.16260).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from isoflop.audit.arms import Compute
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import ModelShape
from isoflop.quietstar.cost import ThoughtPricer, reference_flops

SAMPLES = 6
STEP_TOKENS = 96
N_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Ran:
    """How a configuration ran: `samples` whole solutions, or a search (`samples` None) whose nodes are cut at
    `STEP_TOKENS` and scored by a reward model of the policy's shape. `n_ahead`: how far it thought, None without
    thoughts. `cached`: whether its code kept keys and values between two tokens."""

    samples: int | None
    n_ahead: int | None = None
    cached: bool = False


def how_it_ran(configuration: str) -> Ran | None:
    """Of the study's own names; None for any other, whose compute cannot be estimated."""
    if configuration == "baseline":
        return Ran(SAMPLES)
    if configuration == "quiet-star":
        return Ran(SAMPLES, N_AHEAD)
    if re.fullmatch(r"rebase(\(width=\d+\))?", configuration):
        return Ran(None, cached=True)
    if re.fullmatch(r"quiet-star\+rebase(\(width=\d+\))?", configuration):
        return Ran(None, N_AHEAD)
    return None


def estimated(ran: Ran, tokens: int, prompt_tokens: int, shape: ModelShape) -> Compute:
    """The compute of one question."""
    pricer, lengths = Pricer(shape), _lengths(ran, tokens)
    prompt = pricer.prefill(0, prompt_tokens)
    made = [pricer.decode(prompt_tokens, length - 1) for length in lengths]
    thought = 0
    if ran.n_ahead is not None:
        thoughts = ThoughtPricer(pricer, ran.n_ahead)
        thought = sum(thoughts.cost(prompt_tokens, length).flops for length in lengths)
    ideal = prompt + sum(made) + thought
    alone = len(lengths) * prompt + sum(made) + thought
    code = Uncached(shape, ran.n_ahead)
    uncached = sum(code.of(prompt_tokens, length) for length in lengths)
    as_run = alone if ran.cached else uncached
    if ran.samples is None:  # the reward model reads the prompt and each node, as it is, with one read-out
        rewards = [pricer.prefill(0, prompt_tokens + length) for length in lengths]
        ideal += pricer.prefill(0, prompt_tokens, 0) + sum(pricer.prefill(prompt_tokens, n) for n in lengths)
        alone, as_run, uncached = (book + sum(rewards) for book in (alone, as_run, uncached))
    return Compute(ideal, alone, as_run, uncached, tokens)


class Uncached:
    """FLOPs of code that reads all of the text again for each token, with logits, and where it thinks with thoughts, at
    every position. `of(start, tokens)`: to make so many tokens behind `start` known ones."""

    def __init__(self, shape: ModelShape, n_ahead: int | None) -> None:
        self._pricer, self._shape, self._n_ahead = Pricer(shape), shape, n_ahead
        self._sums = [0]  # FLOPs of all tokens made at contexts below each

    def of(self, start: int, tokens: int) -> int:
        """Sums are kept: asking for many lengths costs no more than for the longest."""
        while len(self._sums) <= start + tokens:
            self._sums.append(self._sums[-1] + self.one(len(self._sums) - 1))
        return self._sums[start + tokens] - self._sums[start]

    def one(self, context: int) -> int:
        """The next token behind `context` ones."""
        if self._n_ahead is None or not context:
            return self._pricer.prefill(0, context, context)
        return reference_flops(self._shape, n_ahead=self._n_ahead, context=context)


def _lengths(ran: Ran, tokens: int) -> list[int]:
    """The samples' lengths, as equal as whole numbers are; or the nodes' of a search, all full but the last."""
    if ran.samples is None:
        full, rest = divmod(tokens, STEP_TOKENS)
        return [STEP_TOKENS] * full + [rest] * (rest > 0)
    share, rest = divmod(tokens, ran.samples)
    return [length for length in [share + (place < rest) for place in range(ran.samples)] if length]
