"""`isoflop lab train`: a small language model from nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

EXAMPLES = (
    "isoflop lab train --data plain.jsonl --out runs/base --steps 3000"
    "\n\nisoflop lab train --data more.jsonl --start runs/base --out runs/longer --steps 800 --rate 1e-3"
)


def train(
    data: Annotated[str, typer.Option("--data", help="A JSON Lines file of `isoflop lab text`, read in its order.")],
    out: Annotated[str, typer.Option("--out", "-o", help="The model's folder; a killed training goes on in it.")],
    start: Annotated[str | None, typer.Option("--start", help="A model to go on from.", show_default="none")] = None,
    steps: Annotated[int, typer.Option("--steps", help="Updates.")] = 3000,
    batch: Annotated[int, typer.Option("--batch", help="Rows of an update.")] = 16,
    hidden: Annotated[int, typer.Option("--hidden", help="Hidden size.")] = 96,
    layers: Annotated[int, typer.Option("--layers")] = 4,
    heads: Annotated[int, typer.Option("--heads")] = 4,
    feed_forward: Annotated[int, typer.Option("--feed-forward", help="Width of the gated feed-forward.")] = 256,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate before its cosine.")] = 3e-3,
    warmup_steps: Annotated[int, typer.Option("--warmup-steps")] = 100,
    save_every: Annotated[int, typer.Option("--save-every", help="Steps between checkpoints.")] = 500,
    log_every: Annotated[int, typer.Option("--log-every", help="Steps between lines of the log.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="One is best for so small a model.")] = 1,
) -> None:
    """Train an ordinary Llama of transformers, with a word-level tokenizer, on text of the laboratory."""
    given = dict(locals())
    import torch

    from isoflop.laboratory.train import LanguageTraining
    from isoflop.laboratory.train import train as run

    torch.set_num_threads(given.pop("threads"))
    typer.echo(f"saved {run(LanguageTraining(**given), _say)}")


def _say(line: dict[str, Any]) -> None:
    typer.echo(f"step {line['step']}  nats {line['nats']:.4f}  {line['tokens']:,} tokens in {line['seconds']:,.0f} s")
