"""An audit as titled columns, for a terminal or a readme; it computes nothing but ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isoflop.audit.arms import AuditedArm
from isoflop.audit.audit import DISCORDANT, Audit
from isoflop.report.layout import Column
from isoflop.report.units import NOTHING, p_value, percent, points, three_digits, unit_for


def sections(audit: Audit) -> list[tuple[str, list[Column]]]:
    """All titled parts that say something."""
    title = f"{audit.source}: {audit.questions} questions, {len(audit.arms)} configurations"
    found = [(title, _accuracies(audit))]
    if any(arm.compute.ideal is not None for arm in audit.arms):
        kind = "estimated" if any(arm.estimated for arm in audit.arms) else "by the books"
        found.append((f"FLOPs a question, {kind}", _compute(audit)))
    if any(arm.choice for arm in audit.arms):
        found.append(("What the candidates allowed, % of questions", _choices(audit)))
    if audit.pairs:
        found.append(("Every pair", _pairs(audit)))
    return found


def notes(audit: Audit) -> list[str]:
    """What must be said beside the numbers."""
    shown = f"differences below {percent(audit.detectable)} points would not show"
    if audit.detectable > DISCORDANT:
        shown = "no difference would show"
    assumed = f"power 0.8, level 0.05, arms that differ on {percent(DISCORDANT)} % of them"
    found = [f"With {audit.questions} questions {shown} ({assumed}). Not distinguishable is not equal."]
    if audit.pairs:
        found.append(f"Tests: {audit.pairs[0].method}, two-sided; Holm over every pair.")
    found += _marks(audit.arms)
    if audit.prompt_tokens is not None:
        found.append(
            f"FLOPs are estimates: tokens are the reported FLOPs over the study's own price of a token, prompts have "
            f"{audit.prompt_tokens} tokens, a question's samples are equally long. For searches they are upper bounds "
            "(a node is charged its full cut, and its parent's tokens again); for what had no cache, lower ones."
        )
        found.append(
            "ideal: prefixes shared, keys and values kept; alone: each sample or step reads its own prompt; as run: as "
            "the published code does it. Rewards are counted, at the policy's shape."
        )
    elif any(arm.compute.ideal is not None for arm in audit.arms):
        found.append(
            "ideal: what is charged, each prefix once; alone: each request reads its own prefix; as run: what was "
            "computed, work shared with other arms left out; no cache: by formula, for code that reads all text again "
            "for each token; reported: the published study's formula on these tokens, and modelled seconds."
        )
    if any(audit.measures(arm) for arm in audit.arms):
        found.append("acc/TFLOP, acc/s and score are the published study's own measures (arXiv 2412.16260).")
    return found


def _marks(arms: Sequence[AuditedArm]) -> list[str]:
    disputed = [f"{arm.name} {len(arm.disputed)}" for arm in arms if arm.disputed]
    return [f"Marked otherwise than pick and gold compare: {', '.join(disputed)}"] if disputed else []


def _names(arms: Sequence[AuditedArm]) -> Column:
    return Column("configuration", tuple(arm.name for arm in arms), left=True)


def _accuracies(audit: Audit) -> list[Column]:
    arms = audit.arms
    intervals, measures = [audit.interval(arm) for arm in arms], [audit.measures(arm) for arm in arms]
    columns = [
        _names(arms),
        Column("right", tuple(f"{arm.data.accuracy_by_problem.sum():g}" for arm in arms)),
        Column(
            "accuracy % [95 %]",
            tuple(
                f"{percent(arm.data.accuracy)} [{percent(one.low)}, {percent(one.high)}]"
                for arm, one in zip(arms, intervals, strict=True)
            ),
        ),
        Column("reported TFLOPs", _cells(arms, lambda arm: arm.reported_flops, 1e12)),
        Column("seconds", _cells(arms, lambda arm: arm.reported_seconds)),
        Column("acc/TFLOP", tuple(three_digits(None if one is None else one.accuracy_per_tflop) for one in measures)),
        Column("acc/s", tuple(three_digits(None if one is None else one.accuracy_per_second) for one in measures)),
        Column("score", tuple(three_digits(None if one is None else one.efficiency_score) for one in measures)),
    ]
    return _told(columns)


def _compute(audit: Audit) -> list[Column]:
    arms = audit.arms
    unit = unit_for(arm.compute.ideal for arm in arms)
    columns = [
        _names(arms),
        Column(f"ideal {unit.name}", _cells(arms, lambda arm: arm.compute.ideal, unit.size)),
        Column("alone", _cells(arms, lambda arm: arm.compute.alone, unit.size)),
        Column("as run", _cells(arms, lambda arm: arm.compute.as_run, unit.size)),
        Column("no cache", _cells(arms, lambda arm: None if arm.estimated else arm.compute.uncached, unit.size)),
        Column("reported", _cells(arms, lambda arm: arm.reported_flops, unit.size)),
        Column("run/reported", tuple(_times(arm.compute.as_run, arm.reported_flops) for arm in arms)),
        Column("ideal/reported", tuple(_times(arm.compute.ideal, arm.reported_flops) for arm in arms)),
        Column("tokens", _cells(arms, lambda arm: arm.compute.tokens)),
        Column("run FLOP/s", tuple(_rate(arm) for arm in arms)),
    ]
    return _told(columns)


def _choices(audit: Audit) -> list[Column]:
    arms = [arm for arm in audit.arms if arm.choice]
    choices = [arm.choice for arm in arms if arm.choice]
    return [
        _names(arms),
        Column("candidates", tuple(three_digits(one.mean) for one in choices)),
        Column("picked", tuple(percent(arm.data.accuracy) for arm in arms)),
        Column("one by chance", tuple(percent(one.single) for one in choices)),
        Column("majority", tuple(percent(one.majority) for one in choices)),
        Column("any right", tuple(percent(one.any_right) for one in choices)),
    ]


def _pairs(audit: Audit) -> list[Column]:
    pairs = audit.pairs
    return [
        Column("configuration", tuple(pair.a for pair in pairs), left=True),
        Column("against", tuple(pair.b for pair in pairs), left=True),
        Column("points", tuple(points(pair.difference) for pair in pairs)),
        Column("won", tuple(str(pair.a_only) for pair in pairs)),
        Column("lost", tuple(str(pair.b_only) for pair in pairs)),
        Column("p Holm", tuple(p_value(pair.p_holm) for pair in pairs)),
        Column("p", tuple(p_value(pair.p) for pair in pairs)),
    ]


def _cells(arms: Sequence[AuditedArm], of: Callable[[AuditedArm], float | None], size: float = 1.0) -> tuple[str, ...]:
    values = [of(arm) for arm in arms]
    return tuple(three_digits(None if value is None else value / size) for value in values)


def _times(value: float | None, unit: float | None) -> str:
    return three_digits(value / unit) if value and unit else NOTHING


def _rate(arm: AuditedArm) -> str:
    """Of the estimate in the reported seconds: beyond a device's peak, or far below it, an estimate is wrong."""
    if not arm.estimated or not arm.compute.as_run or not arm.reported_seconds:
        return NOTHING
    return f"{arm.compute.as_run / arm.reported_seconds:.1e}"


def _told(columns: list[Column]) -> list[Column]:
    """Without columns in which nothing is known."""
    return [column for column in columns if set(column.cells) != {NOTHING}]
