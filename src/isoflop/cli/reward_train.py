"""`isoflop reward train`: fit a step reward to labelled solutions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from isoflop.cli.options import Json
from isoflop.errors import SpecError

EXAMPLES = (
    "isoflop reward train labels.jsonl --model DIR --out heads/first · "
    "isoflop reward train runs/first --model DIR --out heads/free --features logprob --seeds 0 1 2"
    "\n\nThe head reads the model that wrote the solutions, and costs no forward pass while that model generates."
)


def train(
    source: Annotated[str, typer.Argument(metavar="LABELS_OR_RUN", help="Labelled solutions, or a run's folder.")],
    model: Annotated[str, typer.Option("--model", help="The model that wrote the solutions.", show_default=False)],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder; a killed training goes on in it.")],
    method: Annotated[str, typer.Option("--method", help="head: a logistic head on frozen states.")] = "head",
    kind: Annotated[
        str | None, typer.Option("--kind", help="outcome, hard or soft.", show_default="the file's; a run's: outcome")
    ] = None,
    features: Annotated[str | None, typer.Option("--features", help="logprob or path: read these, too.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seeds", help="Repeatable.", show_default="0")] = None,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the problems to stop by.")] = 0.1,
    l2: Annotated[float, typer.Option("--l2", help="Weight of the squared weights.")] = 0.01,
    epochs: Annotated[int, typer.Option("--epochs", help="At most so many.")] = 100,
    dtype: Annotated[str, typer.Option("--dtype")] = "auto",
    device: Annotated[str, typer.Option("--device")] = "auto",
    json: Json = False,
) -> None:
    """Fit a reward to labels; splits by problem, stops early, says how well it tells steps apart."""
    from isoflop.reward_training.head_fit import HeadOptions
    from isoflop.reward_training.labels import LABEL_KINDS
    from isoflop.reward_training.train_head import HeadTraining, train_head

    _refuse("--method", method, ("head",))
    _refuse("--kind", kind, (None, *LABEL_KINDS))
    _refuse("--features", features, (None, "logprob", "path"))
    training = HeadTraining(
        kind=kind,  # type: ignore[arg-type]  # checked above
        features=features,  # type: ignore[arg-type]  # checked above
        seeds=tuple(seeds or (0,)),
        held_out=held_out,
        options=HeadOptions(l2=l2, epochs=epochs),
    )
    summary = train_head(source, model, out, training, dtype=dtype, device=device, tell=typer.echo)
    _say(summary, as_json=json)


def _say(summary: dict[str, Any], *, as_json: bool) -> None:
    from isoflop.cli.output import console, grid, say_json
    from isoflop.reward_training.card import COLUMNS, cells

    console().print(grid("Held-out problems", COLUMNS, [cells(head) for head in summary["heads"]]))
    typer.echo(f'use it as {summary["use"]}; judge it with: isoflop reward eval LABELS --rewards "{summary["use"]}"')
    if as_json:
        say_json(summary)


def _refuse(option: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise SpecError(f"{option} {value!r} is unknown; allowed: {', '.join(each for each in allowed if each)}")
