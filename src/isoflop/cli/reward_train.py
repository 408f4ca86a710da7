"""`isoflop reward train`: fit a step reward to labelled solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from isoflop.cli.options import Json
from isoflop.errors import SpecError

EXAMPLES = (
    "isoflop reward train labels.jsonl --model DIR --out heads/first · "
    "isoflop reward train labels.jsonl --model DIR --out rewards/first --method lora · "
    "torchrun --nproc-per-node 2 -m isoflop reward train labels.jsonl --model DIR --out rewards/all --method full"
    "\n\nA head reads the model that wrote the solutions and costs no forward pass while that model generates; lora "
    "and full make a reward model of its own, which reads text."
)
METHODS = ("head", "lora", "full")
# Options that one kind of method has and the other has not: given in vain, they are refused.
HEAD_ONLY = ("features", "l2", "states")
MODEL_ONLY = ("weight_decay", "batch_solutions", "at_once", "lora_rank", "save_every", "separator", "shard")


def train(
    source: Annotated[str, typer.Argument(metavar="LABELS_OR_RUN", help="Labelled solutions, or a run's folder.")],
    model: Annotated[
        str, typer.Option("--model", help="head: the model that wrote the solutions.", show_default=False)
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder; a killed training goes on in it.")],
    method: Annotated[str, typer.Option("--method", help="head (logistic, frozen states), lora or full.")] = "head",
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="outcome, hard, soft or exact.", show_default="the file's; a run's: outcome"),
    ] = None,
    features: Annotated[str | None, typer.Option("--features", help="logprob or path: read these, too.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seeds", help="Repeatable.", show_default="0")] = None,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the problems to stop by.")] = 0.1,
    l2: Annotated[float | None, typer.Option("--l2", help="Of a head.", show_default="0.01")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="At most.", show_default="head: 100, else 3")] = None,
    states: Annotated[
        str | None, typer.Option("--states", help="Where a head's hidden states are kept.", show_default="OUT/states")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Epochs without gain.", show_default="head: 10, else 1")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", show_default="head: 0.01, lora: 2e-4, full: 1e-5")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", show_default="0.01")] = None,
    batch_solutions: Annotated[
        int | None, typer.Option("--batch", help="Solutions of an update, over all workers.", show_default="16")
    ] = None,
    at_once: Annotated[int | None, typer.Option("--at-once", help="Of a forward.", show_default="4")] = None,
    lora_rank: Annotated[int | None, typer.Option("--rank", help="Of LoRA's matrices.", show_default="16")] = None,
    save_every: Annotated[int | None, typer.Option("--save-every", help="Updates.", show_default="100")] = None,
    separator: Annotated[str | None, typer.Option("--separator", help="Mark.", show_default="a newline")] = None,
    shard: Annotated[bool, typer.Option("--shard", help="Spread the model over the workers (FSDP).")] = False,
    dtype: Annotated[str, typer.Option("--dtype", help="lora, full: of the products; weights are float32.")] = "auto",
    device: Annotated[str, typer.Option("--device")] = "auto",
    json: Json = False,
) -> None:
    """Fit a reward to labels; splits by problem, stops early, says how well it tells steps apart."""
    from isoflop.cli.output import speaks
    from isoflop.reward_training.labels import LABEL_KINDS

    given = {name: value for name, value in locals().items() if value is not None and value is not False}
    _refuse("--method", method, METHODS)
    _refuse("--kind", kind, (None, *LABEL_KINDS))
    _refuse("--features", features, (None, "logprob", "path"))
    _refuse_in_vain(method, given)
    run = _train_head if method == "head" else _train_model
    summary = run(source, model, out, given, {"dtype": dtype, "device": device, "tell": typer.echo})
    if speaks():
        _say(summary, as_json=json)


def _train_head(source: str, model: str, out: str, given: Mapping[str, Any], how: Mapping[str, Any]) -> dict[str, Any]:
    from isoflop.reward_training.head_fit import HeadOptions
    from isoflop.reward_training.train_head import HeadTraining, train_head

    options = HeadOptions(**_chosen(given, "l2", "epochs", "patience", "learning_rate"))
    shared = _chosen(given, "kind", "held_out", "features")
    training = HeadTraining(seeds=_seeds(given), options=options, **shared)
    return train_head(source, model, out, training, states=given.get("states"), **how)


def _train_model(source: str, model: str, out: str, given: Mapping[str, Any], how: Mapping[str, Any]) -> dict[str, Any]:
    from isoflop.reward_training.train_model import train_model
    from isoflop.reward_training.train_options import ModelOptions, ModelTraining

    own = (*(name for name in MODEL_ONLY if name != "separator"), "epochs", "patience", "learning_rate")
    options = ModelOptions(**_chosen(given, *own))
    shared = _chosen(given, "method", "kind", "held_out", "separator")
    return train_model(source, model, out, ModelTraining(seeds=_seeds(given), options=options, **shared), **how)


def _chosen(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _seeds(given: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(given.get("seeds", (0,)))


def _refuse_in_vain(method: str, given: Mapping[str, Any]) -> None:
    for name in MODEL_ONLY if method == "head" else HEAD_ONLY:
        if name not in given:
            continue
        why = (
            "; a model of its own reads text and has no place for the policy's log-probabilities: combine the two as "
            "ensemble([token_prm('OUT'), logprob()])"
            if name == "features"
            else ""
        )
        option = {"batch_solutions": "batch", "lora_rank": "rank"}.get(name, name).replace("_", "-")
        raise SpecError(f"--{option} is given in vain with --method {method}{why}")


def _say(summary: dict[str, Any], *, as_json: bool) -> None:
    from isoflop.cli.output import console, grid, say_json
    from isoflop.reward_training.card import COLUMNS, cells

    console().print(grid("Held-out problems", COLUMNS, [cells(fit) for fit in summary["fits"]]))
    if summary.get("too_long"):
        typer.echo(f"{summary['too_long']} solutions do not fit into the model's context and were left out")
    typer.echo(f'use it as {summary["use"]}; judge it with: isoflop reward eval LABELS --rewards "{summary["use"]}"')
    if as_json:
        say_json(summary)


def _refuse(option: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    if value not in allowed:
        raise SpecError(f"{option} {value!r} is unknown; allowed: {', '.join(each for each in allowed if each)}")
