"""`isoflop reward label`: solutions with a label at each step, drawn here or read off a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.options import Concurrency, Json, RetryErrors

if TYPE_CHECKING:
    from isoflop.api import Run
    from isoflop.cost.ledger import Cost
    from isoflop.reward_training.label_run import LabelSummary
    from isoflop.reward_training.labels import LabelKind
    from isoflop.studies.plan import Plan
    from isoflop.studies.progress import Progress
    from isoflop.studies.spec import Study

EXAMPLES = (
    "isoflop reward label --model DIR --problems \"gsm8k(path='DIR')\" --split train --solutions 8 --out runs/outcome"
    "\n\nisoflop reward label --model DIR --problems \"gsm8k(path='DIR')\" --split train --completions 4 "
    "--first-error binary --out runs/hard"
    "\n\nisoflop reward label RUN --kind soft · of a run that is there; nothing is generated"
)


def label(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run to label.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option("--model", help="Folder, hub id, or engine.", show_default=False)] = None,
    problems: Annotated[str | None, typer.Option("--problems", help="A problem set.", show_default=False)] = None,
    split: Annotated[str, typer.Option("--split", help="Of the problem set: train, dev or test.")] = "train",
    solutions: Annotated[int, typer.Option("--solutions", help="Solutions of each problem.")] = 8,
    completions: Annotated[
        int | None, typer.Option("--completions", help="Completions of each prefix.", show_default="none")
    ] = None,
    first_error: Annotated[
        str | None, typer.Option("--first-error", help="every prefix, or binary search.", show_default="every")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="outcome, hard, soft or exact.", show_default="hard with completions")
    ] = None,
    prompt: Annotated[str, typer.Option("--prompt")] = "chat()",
    sampling: Annotated[str, typer.Option("--sampling")] = "sampling()",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    concurrency: Concurrency = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/labels-HASH")
    ] = None,
    retry_errors: RetryErrors = False,
    json: Json = False,
) -> None:
    """Label the steps of solutions: of a run that is there, or drawn now; the same command resumes."""
    from isoflop.api import Run, study_of
    from isoflop.errors import SpecError

    drawing = (model, problems, completions, first_error, out)
    if any(given is not None for given in drawing) if run is not None else None in (model, problems):
        raise SpecError(
            "give either RUN, a run that is there and labelled as it is, or --model and --problems to draw solutions; "
            "--completions, --first-error and --out go with these"
        )
    if run is not None:
        made = Run.open(run)
        _print(made, _kind(kind, made.study), as_json=json)
        return
    declared: dict[str, Any] = {
        "model": model,
        "problems": problems,
        "strategies": _strategy(solutions, completions, first_error),
        "prompt": prompt,
        "sampling": sampling,
        "seeds": [seed],
        "split": split,
        "name": "labels",
        **({"concurrency": concurrency} if concurrency else {}),
    }
    study = study_of(**declared)
    wanted = _kind(kind, study)  # refused before hours of drawing, not after
    _print(_drawn(study, out, retry_errors), wanted, as_json=json)


def _strategy(solutions: int, completions: int | None, first_error: str | None) -> str:
    from isoflop.errors import SpecError

    if completions is not None:
        return f"rollouts(n={solutions}, completions={completions}, first_error={first_error or 'every'!r})"
    if first_error is not None:
        raise SpecError(f"--first-error {first_error} looks for errors by completions; add, say, --completions 4")
    return f"self_consistency(n={solutions})"


def _kind(given: str | None, study: Study) -> LabelKind:
    """The kind that was asked for, if the study's arms can give it; unasked, hard where there are completions."""
    from isoflop.errors import SpecError, did_you_mean
    from isoflop.reward_training.from_run import COMPLETED
    from isoflop.reward_training.labels import LABEL_KINDS
    from isoflop.search.rollouts import Rollouts

    completed = any(isinstance(arm.strategy, Rollouts) for arm in study.arms)
    if given is None:
        return "hard" if completed else "outcome"
    kind = next((kind for kind in LABEL_KINDS if kind == given), None)
    if kind is None:
        raise SpecError(f"--kind {given!r} is unknown{did_you_mean(given, LABEL_KINDS)}")
    if kind == "exact" and study.problems.step_oracle() is None:
        raise SpecError(f"--kind exact asks the problem set which steps are right, and {study.problems} does not know")
    if kind in COMPLETED and not completed:
        raise SpecError(f"--kind {kind} is made of completions; draw some, say --completions 4, or take --kind outcome")
    return kind


def _drawn(study: Study, out: Path | None, retry_errors: bool) -> Run:
    """The study's run, all of it, after saying what is missing and what that will take."""
    from isoflop.api import Run, folder_of
    from isoflop.cli.output import console
    from isoflop.cli.running import execute_shown
    from isoflop.studies.plan import plan_study

    run = Run.create(study, out or folder_of(study))
    so_far = run.status()
    if missing := so_far.total - so_far.done:
        console(err=True).print(_planned(plan_study(study), missing), soft_wrap=True)
    execute_shown(run, retry_errors=retry_errors)
    return run


def _planned(plan: Plan, missing: int) -> str:
    from isoflop.report.units import three_digits, unit_for

    [arm] = plan.arms
    flops = missing * arm.flops_per_attempt
    unit = unit_for([flops])
    taken = f"{three_digits(flops / unit.size)} {unit.name}, {missing * arm.new_tokens_per_attempt:,.0f} new tokens"
    binary = "; a binary search may take three times that" if "binary" in arm.label else ""
    return f"planned: {missing} attempts, {taken}, for solutions of {plan.assumptions.solution_tokens} tokens{binary}"


def _print(run: Run, kind: LabelKind, *, as_json: bool) -> None:
    from dataclasses import asdict

    from isoflop.cli.output import console, say_json
    from isoflop.reward_training.label_run import cost_of, label_run

    summary, cost, status = label_run(run, kind), cost_of(run), run.status()
    out = console()
    for line in _lines(summary, cost, status):
        out.print(line, soft_wrap=True, markup=False)
    if as_json:
        counts = asdict(summary) | {"path": str(summary.path), "share_right": summary.share_right}
        say_json(counts | {"attempts": status.done, "attempts_wanted": status.total, "cost": cost.to_dict()})


def _lines(summary: LabelSummary, cost: Cost, status: Progress) -> list[str]:
    from isoflop.report.units import duration, percent, three_digits, unit_for

    unit = unit_for([cost.flops])
    made = f"{summary.solutions} solutions from {status.done} of {status.total} attempts"
    taken = f"{three_digits(cost.flops / unit.size)} {unit.name}, {cost.new_tokens:,} new tokens"
    return [
        f"{made}, {percent(summary.share_right)} % right",
        f"{summary.steps} steps, {summary.labelled_steps} of them labelled ({summary.kind})",
        *(f"skipped: {count} {reason.replace('_', ' ')}" for reason, count in sorted(summary.skipped.items())),
        f"the run took {taken}, {duration(cost.seconds)} of the engine",
        f"labels: {summary.path}",
    ]
