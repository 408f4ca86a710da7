"""A run of our own as arms of an audit: the same questions are asked of us.

Compute comes from the two books that every attempt has, so nothing is estimated. What the published study would have
reported is worked out by its formula, and what code without a cache would have taken by ours, where the engine has a
model whose shape can be read. Incomplete arms are left out, and named.

    arms, left_out = read_run(Run.open("runs/first"))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from isoflop.audit.arms import AuditedArm, Choice, Compute
from isoflop.audit.estimate import Uncached
from isoflop.audit.published import choice_of
from isoflop.cost.published import published_flops_per_token
from isoflop.cost.shape import ModelShape, load_shape
from isoflop.errors import ModelError, StudyError
from isoflop.report.arms import ArmSummary, summarize
from isoflop.report.pools import pool_of
from isoflop.search.published import PublishedRebase
from isoflop.studies.record import Record
from isoflop.studies.run import Run


def read_run(run: Run) -> tuple[tuple[AuditedArm, ...], list[str]]:
    """The complete arms, and a line on each that is not. Raises StudyError where none is complete."""
    summaries = summarize(run)
    whole = [summary for summary in summaries if summary.complete]
    if not whole:
        raise StudyError(f"{run.folder}: no arm is complete, so there is nothing to audit; finish the run first")
    records: dict[str, list[Record]] = {}
    for record in run.attempts:
        if not record.failed:
            records.setdefault(record.arm, []).append(record)
    prompts = _prompts(records.values())
    arms = tuple(_arm(summary, records[summary.label], prompts) for summary in whole)
    return arms, [f"{one.label}: {one.missing} attempts are still to make" for one in summaries if not one.complete]


def _arm(summary: ArmSummary, records: Sequence[Record], prompts: Mapping[str, int]) -> AuditedArm:
    assert summary.data is not None
    shape = _shape(summary)
    tokens = summary.per_problem("new_tokens", "policy") or None
    return AuditedArm(
        summary.data,
        reported_flops=_published_tokens(summary, records) * published_flops_per_token(shape) if shape else None,
        reported_seconds=summary.seconds_per_problem,
        compute=Compute(
            ideal=summary.flops_per_problem,
            alone=summary.per_problem("naive_flops") or None,
            as_run=summary.per_problem("flops", spent=True) or None,
            uncached=_uncached(summary, records, shape, prompts) if shape and tokens else None,
            tokens=tokens,
        ),
        estimated=False,
        choice=_choice(records),
    )


def _published_tokens(summary: ArmSummary, records: Sequence[Record]) -> float:
    """The tokens that the study's formula charges per attempt: those sampled; in its own searches a full cut for each
    node that was not dropped, and its parent's again. A cut is one node there, as the preset has no step ends."""
    strategy = summary.arm.strategy
    if not isinstance(strategy, PublishedRebase):
        return summary.per_problem("new_tokens", "policy") or 0.0
    kept = [node for record in records for node in record.nodes if (node.reward or 0.0) > strategy.drop]
    return sum(node.depth for node in kept) * strategy.step_tokens / len(records)


def _shape(summary: ArmSummary) -> ModelShape | None:
    """None for an engine without a model, or one whose config is not at hand."""
    model = getattr(summary.arm.engine, "model", None)
    try:
        return None if model is None else load_shape(model)
    except ModelError:
        return None


def _prompts(records: Iterable[Sequence[Record]]) -> dict[str, int]:
    """Each problem's prompt length: the fewest prompt tokens that any attempt read, less forced ones.
    Exact where an arm drew whole samples; else longer by a token for each prefix that was gone on from."""
    read: dict[str, int] = {}
    for record in chain.from_iterable(records):
        if "policy" not in record.charged:  # a prompt that did not fit was never read
            continue
        forced = sum(1 + node.step.forced for node in record.nodes if node.step.forced)
        tokens = record.charged["policy"].prompt_tokens - forced
        read[record.problem.id] = min(tokens, read.get(record.problem.id, tokens))
    return read


def _uncached(
    summary: ArmSummary, records: Sequence[Record], shape: ModelShape, prompts: Mapping[str, int]
) -> float | None:
    """Per attempt: every sampled token of every node, its thought where it had one, and the reward as charged."""
    plain = Uncached(shape, None)
    n_ahead = getattr(summary.arm.engine, "n_ahead", None)
    thinking = Uncached(shape, n_ahead) if n_ahead else plain
    total = 0
    for record in records:
        ends: list[int] = []
        for node in record.nodes:
            begin = prompts[record.problem.id] if node.parent is None else ends[node.parent]
            ends.append(begin + len(node.step.tokens))
            total += plain.of(begin + node.step.forced, node.step.sampled)
            total += sum(thinking.one(begin + one.at) - plain.one(begin + one.at) for one in node.step.thoughts)
    return total / len(records) + (summary.per_problem("flops", "reward") or 0.0)


def _choice(records: Sequence[Record]) -> Choice | None:
    """Of the candidates of all seeds; None where some attempt had none."""
    if not all(record.candidates for record in records):
        return None
    return choice_of([pool_of(record.problem.id, record.candidates) for record in records])
