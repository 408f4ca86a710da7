"""Labelled solutions as a model reads them: passages with the positions to read, and a target for each.

A head on the policy reads a step at the position before its last token, which chose that token: what the shared trunk
reads for free while it generates. A reward model of its own reads text, as its format shows it, at the mark behind the
step. What cannot be trained on is refused here, with the reason. A step without a label is part of the text and is not
read.

    examples = policy_examples(solutions, policy_tokens(model, tokenizer))
    examples[0].passage.reads, examples[0].targets
    examples, too_long = text_examples(solutions, Encoder(TRL, tokenizer), context_tokens=2048)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from isoflop.core import Channel
from isoflop.engines.local_text import Tokens, end_tokens
from isoflop.errors import ModelError, StudyError
from isoflop.reward_training.labels import LabelledSolution, LabelledStep
from isoflop.reward_training.sources import RIGHT_FROM
from isoflop.rewards.encode import Encoder, Passage


@dataclass(frozen=True, slots=True)
class Example:
    """One solution: tokens with the positions of its labelled steps, their targets, those steps, and for each of them
    the log-probabilities of all steps before it."""

    problem: str
    passage: Passage
    targets: tuple[float, ...]
    steps: tuple[LabelledStep, ...]
    before: tuple[tuple[float, ...], ...]


def policy_tokens(model: Any, tokenizer: Any) -> Tokens:
    """The policy's text and tokens, as its engine has them."""
    return Tokens(tokenizer, int(model.config.get_text_config().vocab_size), end_tokens(model, tokenizer))


def policy_examples(solutions: Sequence[LabelledSolution], tokens: Tokens) -> list[Example]:
    """For a head on the policy: its own tokens, read where the last token of each step was chosen."""
    return _examples(solutions, lambda solution: policy_passage(solution, tokens))


def text_examples(
    solutions: Sequence[LabelledSolution], encoder: Encoder, context_tokens: int
) -> tuple[list[Example], int]:
    """For a reward model of its own: its tokens, read at the marks; and how many solutions do not fit into its context,
    which are left out whole, as nothing is ever cut off."""
    examples = _examples(solutions, lambda solution: text_passage(solution, encoder))
    fitting = [example for example in examples if len(example.passage.tokens) <= context_tokens]
    if not fitting:
        raise StudyError(
            f"none of the {len(examples)} labelled solutions fits into the model's context of {context_tokens} tokens"
        )
    return fitting, len(examples) - len(fitting)


def text_passage(solution: LabelledSolution, encoder: Encoder) -> Passage:
    """As `rewards/model_reward.py` shows it: think steps too, latent ones never (they have no label to be read for)."""
    shown = [place for place, step in enumerate(solution.steps) if step.channel is not Channel.LATENT]
    [passage] = encoder.encode(solution.question, [solution.steps[place].text for place in shown])
    reads = dict(zip(shown, passage.reads, strict=True))
    return Passage(passage.tokens, tuple(reads.get(place, 0) for place in range(len(solution.steps))))


def policy_passage(solution: LabelledSolution, tokens: Tokens) -> Passage:
    """The position of every step is the one before its last token. Raises ModelError for another model's tokens."""
    prompt = tokens.encode(solution.prompt, prompt=True)
    if not prompt or not all(step.tokens for step in solution.steps):
        raise StudyError(
            f"problem {solution.problem!r}: {'steps without tokens' if prompt else 'no prompt'}; a head reads the "
            "policy's own tokens, so it needs solutions that an engine with tokens wrote (a run, or labels made of one)"
        )
    _check_spelling(solution, tokens)
    ids = [token for step in solution.steps for token in step.tokens]
    return Passage((*prompt, *ids), choosing_positions(len(prompt), [len(step.tokens) for step in solution.steps]))


def choosing_positions(prompt_tokens: int, step_tokens: Sequence[int]) -> tuple[int, ...]:
    """The position before the last token of each step; steps have at least one token, and the prompt has."""
    return tuple(prompt_tokens + end - 2 for end in accumulate(step_tokens))


def _examples(
    solutions: Sequence[LabelledSolution], passage_of: Callable[[LabelledSolution], Passage]
) -> list[Example]:
    found = []
    for solution in solutions:
        labelled = [(place, label) for place, label in enumerate(solution.labels) if label is not None]
        if not labelled:
            continue
        passage = passage_of(solution)
        reads = tuple(passage.reads[place] for place, _ in labelled)
        steps = tuple(solution.steps[place] for place, _ in labelled)
        # Both kinds of model are causal: what stands behind the last position read changes nothing.
        shown = Passage(passage.tokens[: reads[-1] + 1], reads)
        before = tuple(
            tuple(value for step in solution.steps[:place] for value in step.logprobs) for place, _ in labelled
        )
        found.append(Example(solution.problem, shown, tuple(label for _, label in labelled), steps, before))
    _check_both_kinds([target for example in found for target in example.targets])
    return found


def _check_both_kinds(targets: Sequence[float]) -> None:
    right = sum(target >= RIGHT_FROM for target in targets)
    if right in (0, len(targets)):
        raise StudyError(
            f"all {len(targets)} labels say {'right' if right else 'wrong'} (right: {RIGHT_FROM} or more): there is "
            "nothing to tell apart; label solutions of harder or easier problems, until both kinds are there"
        )


def _check_spelling(solution: LabelledSolution, tokens: Tokens) -> None:
    """The tokens must spell the steps' texts, in order; end-of-sequence and stop strings may stand between them."""
    ids = [token for step in solution.steps for token in step.tokens]
    known = max(ids) < len(tokens.pieces)
    spelled = b"".join(tokens.pieces[token] for token in ids).decode("utf-8", "ignore") if known else ""
    place = 0
    for step in solution.steps:
        text = step.text.replace("\ufffd", "").strip()  # a character may be shared by two steps
        found = spelled.find(text, place)
        if found < 0:
            raise ModelError(
                f"problem {solution.problem!r}: the tokens of the step {step.text[:60]!r} spell "
                f"{spelled[place : place + 60]!r} in this model's tokenizer; a head reads the model that wrote the "
                "solutions: give that one as --model"
            )
        place = found + len(text)
