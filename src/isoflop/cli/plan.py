"""`isoflop plan STUDY`: what a study will take, before it runs, and what it cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.options import Json, Settings, StudyFile, settings_of

if TYPE_CHECKING:
    from isoflop.cost.devices import Device
    from isoflop.report.units import Unit
    from isoflop.studies.phantom import Assumptions
    from isoflop.studies.plan import ArmOutcome, Plan

EXAMPLES = (
    "isoflop plan recipes/gsm8k-qwen.toml --set model=DIR --device h100 --per-hour 3"
    "\n\nisoflop plan study.toml --like runs/dev · isoflop plan study.toml --against runs/first (plan and reality)"
)


def plan(
    study: StudyFile,
    device: Annotated[str | None, typer.Option("--device", help="For roofline seconds, such as h100.")] = None,
    like: Annotated[Path | None, typer.Option("--like", help="A run to take lengths and agreement from.")] = None,
    against: Annotated[Path | None, typer.Option("--against", help="A run of this study to compare with.")] = None,
    solution_tokens: Annotated[int | None, typer.Option("--solution-tokens", show_default="200")] = None,
    step_tokens: Annotated[int | None, typer.Option("--step-tokens", show_default="25")] = None,
    think_tokens: Annotated[int | None, typer.Option("--think-tokens", show_default="1000")] = None,
    prompt_tokens: Annotated[int | None, typer.Option("--prompt-tokens", show_default="a quarter of the text")] = None,
    agreement: Annotated[float | None, typer.Option(help="Chance of the commonest answer.", show_default="0.6")] = None,
    discordant: Annotated[float | None, typer.Option(help="Share where two arms differ.", show_default="0.2")] = None,
    gated: Annotated[
        float | None, typer.Option(help="Share of tokens a gate thinks before.", show_default="0.1")
    ] = None,
    kept_drafts: Annotated[float | None, typer.Option(help="Share of drafts that stay.", show_default="0.9")] = None,
    per_hour: Annotated[float | None, typer.Option("--per-hour", help="Price of the device by the hour.")] = None,
    per_million_prompt: Annotated[float, typer.Option(help="Price of a million prompt tokens.")] = 0.0,
    per_million_new: Annotated[float, typer.Option(help="Price of a million new tokens.")] = 0.0,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """FLOPs, tokens, roofline seconds and money of every arm; which differences n cannot show."""
    from isoflop.cli.output import say_json
    from isoflop.studies.plan import MoneyPrices, plan_study
    from isoflop.studies.study_file import load_study

    stated = {
        "solution_tokens": solution_tokens,
        "step_tokens": step_tokens,
        "think_tokens": think_tokens,
        "prompt_tokens": prompt_tokens,
        "agreement": agreement,
        "discordant": discordant,
        "gated": gated,
        "kept_drafts": kept_drafts,
    }
    priced = per_hour is not None or per_million_prompt or per_million_new
    found = plan_study(
        load_study(study, settings_of(settings)),
        assumptions=_assumptions(like, {key: value for key, value in stated.items() if value is not None}),
        device=None if device is None else _device(device),
        money=MoneyPrices(per_hour, per_million_prompt, per_million_new) if priced else None,
    )
    outcomes = _print(found, against)
    if json:
        say_json(_document(found, outcomes))


def _assumptions(like: Path | None, stated: dict[str, Any]) -> Assumptions:
    from isoflop.api import Run
    from isoflop.studies.phantom import Assumptions
    from isoflop.studies.plan import assumptions_from

    base = assumptions_from(Run.open(like)) if like else Assumptions()
    return replace(base, **stated, source=f"{base.source}, some stated") if stated else base


def _device(name: str) -> Device:
    from isoflop.cost.devices import DEVICES, find_device
    from isoflop.errors import SpecError, did_you_mean

    found = find_device(name)
    if found.flops_per_second is None:
        raise SpecError(f"device {name!r} has no known peaks, so there is no roofline{did_you_mean(name, DEVICES)}")
    return found


def _print(found: Plan, against: Path | None) -> list[dict[str, Any]]:
    """The plan; with `against` also what that run took, which is returned."""
    from isoflop.api import Run
    from isoflop.cli.output import console, grid
    from isoflop.report.units import unit_for

    unit = unit_for(arm.flops_per_attempt for arm in found.arms)
    out = console()
    on = f" on {found.device.name}" if found.device else ""
    out.print(grid(f"Plan: {found.problems} problems; FLOPs, tokens and seconds per attempt{on}", *_arms(found, unit)))
    for line in _remarks(found):
        out.print(line, style="yellow" if line.startswith("WARNING") else "dim", markup=False)
    if against is None:
        return []
    outcomes = found.compare_with(Run.open(against))
    out.print(grid(f"Plan and reality: {against}", *_taken(outcomes, unit)))
    return [asdict(one) | {"ratio": one.ratio} for one in outcomes]


def _arms(found: Plan, unit: Unit) -> tuple[list[str], list[list[str]]]:
    from isoflop.report.units import three_digits

    priced = any(arm.money is not None for arm in found.arms)
    headings = ["arm", unit.name, "prompt", "new"]
    headings += ["alone s", "shared s"] if found.device else []
    headings += ["money"] if priced else []
    rows = []
    for arm in found.arms:
        figures: list[float | None] = [
            arm.flops_per_attempt / unit.size,
            arm.prompt_tokens_per_attempt,
            arm.new_tokens_per_attempt,
        ]
        figures += [arm.latency_seconds, arm.seconds] if found.device else []
        figures += [arm.money] if priced else []
        rows.append([arm.label + ("" if arm.reward_priced else " *"), *map(three_digits, figures)])
    return headings, rows


def _remarks(found: Plan) -> list[str]:
    from isoflop.report.units import percent, three_digits, unit_for

    whole = unit_for([found.total_flops])
    lines = [f"all attempts together, shared samples once: {three_digits(found.total_flops / whole.size)} {whole.name}"]
    if any(arm.money is not None for arm in found.arms):
        lines.append("money is for all attempts of the arm")
    if found.device:
        lines.append("seconds are rooflines, bounds from below: alone, and shared at the study's concurrency")
    if any(not arm.reward_priced for arm in found.arms):
        lines.append("* its reward's cost is not known and not counted")
    shows = f"differences below {percent(found.detectable_difference)} points will not show"
    assumed = f"{percent(found.assumptions.discordant)} % of problems discordant"
    lines.append(f"{shows} (power 0.8, level {found.level:.2g}, {assumed})")
    if not found.can_show_something:
        lines.append("WARNING: that is more than arms can differ by: this study can show nothing; take more problems")
    return [*lines, f"lengths {found.assumptions.source}: {_lengths(found.assumptions)}"]


def _taken(outcomes: Sequence[ArmOutcome], unit: Unit) -> tuple[list[str], list[list[str]]]:
    from isoflop.report.units import three_digits

    headings = ["arm", f"{unit.name} planned", "taken", "ratio", "tokens planned", "taken"]
    rows = []
    for one in outcomes:
        flops: list[float | None] = [one.planned_flops / unit.size, one.actual_flops / unit.size, one.ratio]
        rows.append([one.label, *map(three_digits, [*flops, one.planned_new_tokens, one.actual_new_tokens])])
    return headings, rows


def _lengths(assumed: Assumptions) -> str:
    prompt = f"{assumed.prompt_tokens} prompt tokens, " if assumed.prompt_tokens else ""
    return f"{prompt}{assumed.solution_tokens} tokens a solution, {assumed.step_tokens} a step"


def _document(found: Plan, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    return asdict(found) | {"can_show_something": found.can_show_something, "outcomes": outcomes}
