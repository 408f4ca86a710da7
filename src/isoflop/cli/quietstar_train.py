"""`isoflop quietstar train`: put thoughts on a model, or go on with those it has."""

from __future__ import annotations

from typing import Annotated, Any

import typer

EXAMPLES = (
    "isoflop quietstar train DIR --data text.jsonl --out runs/thoughts --steps 100"
    "\n\nisoflop quietstar train DIR --data notes/ --out runs/cheap --positions 'random(16)' --precision bf16"
    "\n\ntorchrun --nproc-per-node 2 -m isoflop quietstar train DIR --data text.jsonl --out runs/wide"
)


def train(
    model: Annotated[str, typer.Argument(help="A causal LM, or a checkpoint with thoughts.", show_default=False)],
    data: Annotated[str, typer.Option("--data", help="FILE.jsonl (column text), FILE.txt, a folder, hub:NAME:SPLIT.")],
    out: Annotated[str, typer.Option("--out", help="The run's folder; a killed run goes on from it.")],
    steps: Annotated[int, typer.Option("--steps", help="Updates.")] = 100,
    recipe: Annotated[
        str, typer.Option("--recipe", help="corrected; faithful to the reference; distilled.")
    ] = "corrected",
    n_ahead: Annotated[
        int | None, typer.Option("--n-ahead", help="Inputs of a thought, and one: its own, or 8.")
    ] = None,
    talk: Annotated[int, typer.Option("--talk", help="Tokens predicted after a thought.")] = 4,
    thoughts: Annotated[int, typer.Option("--thoughts", help="Thoughts drawn at each position.")] = 2,
    positions: Annotated[
        str, typer.Option("--positions", help="all, boundary, boundary('= '), traces, random(N).")
    ] = "all",
    seeded_steps: Annotated[
        int, typer.Option("--seeded-steps", help="First steps: learn the data's own thoughts.")
    ] = 0,
    seeded_share: Annotated[float, typer.Option("--seeded-share", help="Share of later steps that do, too.")] = 0.0,
    filler: Annotated[str, typer.Option("--filler", help="Its first token fills up short thoughts.")] = "---",
    length: Annotated[int, typer.Option("--length", help="Tokens of a window.")] = 256,
    batch: Annotated[int, typer.Option("--batch", help="Windows that a worker computes at once.")] = 4,
    accumulate: Annotated[int, typer.Option("--accumulate", help="An update is so many times --batch windows.")] = 1,
    base_rate: Annotated[
        float | None, typer.Option("--base-rate", help="Learning rate of the base model, 0: frozen.  [1e-6; LoRA 1e-4]")
    ] = None,
    lora_rank: Annotated[int, typer.Option("--lora-rank", help="Train adapters on the base, not its weights.")] = 0,
    vector_rate: Annotated[float, typer.Option("--vector-rate", help="... of start and end, stored / 100.")] = 1e-5,
    head_rate: Annotated[float, typer.Option("--head-rate", help="... of the talk head.")] = 1e-4,
    warmup_steps: Annotated[int, typer.Option("--warmup-steps", help="Steps of linear warm-up.")] = 20,
    precision: Annotated[str, typer.Option("--precision", help="no or bf16; weights stay in float32.")] = "no",
    optimizer: Annotated[str, typer.Option("--optimizer", help="adamw, or muon for matrices of the base.")] = "adamw",
    save_every: Annotated[int, typer.Option("--save-every", help="Steps between checkpoints.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    shorten: Annotated[str, typer.Option("--shorten", help="n_ahead of later parts of the run: '12, 8'.")] = "",
    reward_decay: Annotated[
        float, typer.Option("--reward-decay", help="Reward over an average of the model without thoughts: 0.999.")
    ] = 0.0,
    gate_rate: Annotated[float, typer.Option("--gate-rate", help="Learning rate of a gate: where thoughts pay.")] = 0.0,
    gate_nats: Annotated[float, typer.Option("--gate-nats", help="What a thought must save to have paid.")] = 0.0,
    control: Annotated[
        str, typer.Option("--control", help="Train without help: fillers, shuffled, 'mixing 0' or never.")
    ] = "none",
    shard: Annotated[bool, typer.Option("--shard", help="Each worker holds a part of the weights (FSDP).")] = False,
) -> None:
    """Train thoughts on any text. Prints a line per step; the same stands in OUT/log.jsonl."""
    given = dict(locals())
    from isoflop.cli.output import speaks
    from isoflop.quietstar.training.loop import train as run
    from isoflop.quietstar.training.settings import Training

    folder = run(Training(**given), _say, lambda sample: typer.echo(f"  {sample}"))
    if speaks():
        typer.echo(f"saved {folder}; curves: isoflop quietstar curves {out}")


def _say(line: dict[str, Any]) -> None:
    shown = ("loss", "nats_without", "nats_with", "reward", "weight", "tokens_per_second")
    typer.echo(f"step {line['step']}  " + "  ".join(f"{name} {_number(line[name])}" for name in shown))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
