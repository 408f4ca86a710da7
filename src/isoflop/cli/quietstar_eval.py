"""`isoflop quietstar eval`: what a checkpoint's thoughts are worth on held-out text, with controls."""

from __future__ import annotations

from typing import Annotated

import typer

from isoflop.cli.options import Json

EXAMPLES = "isoflop quietstar eval runs/thoughts/checkpoint-000100 --data heldout.jsonl --positions 'random(16)' --json"


def evaluate(
    model: Annotated[str, typer.Argument(help="A checkpoint with thoughts.", show_default=False)],
    data: Annotated[str, typer.Option("--data", help="Held-out text, as for train.")],
    n_ahead: Annotated[int | None, typer.Option("--n-ahead", help="The checkpoint's own where not given.")] = None,
    positions: Annotated[
        str, typer.Option("--positions", help="all, boundary, boundary('= '), traces, random(N).")
    ] = "all",
    length: Annotated[int, typer.Option("--length", min=2, help="Tokens of a document that are read.")] = 256,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Documents computed at once.")] = 8,
    filler: Annotated[str, typer.Option("--filler", help="Its first token makes the filler thoughts.")] = "---",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    json: Json = False,
) -> None:
    """Nats per token with thoughts, without, and with thoughts that should not help."""
    from dataclasses import asdict

    from isoflop.cli.output import console, grid, say_json
    from isoflop.quietstar import ThoughtModel
    from isoflop.quietstar.training.data import Windows, read_documents
    from isoflop.quietstar.training.evaluation import evaluate as run
    from isoflop.quietstar.training.positions import parse_positions
    from isoflop.quietstar.training.traces import filler_token
    from isoflop.runtime.loading import load_tokenizer

    parse_positions(positions)
    documents, tokenizer = read_documents(data), load_tokenizer(model)
    token = filler_token(tokenizer, filler)
    thinking = ThoughtModel.load(model, n_ahead)
    windows = Windows(tokenizer, documents, length, seed, thinking.config.thought_ids)
    found = run(thinking, windows, positions=positions, filler=token, batch=batch, seed=seed)
    rows = [
        [
            name,
            f"{arm.nats:.4f}",
            f"{arm.interval.low:.4f} to {arm.interval.high:.4f}",
            f"{arm.minus_thoughts:+.4f}",
            f"{arm.minus_interval.low:+.4f} to {arm.minus_interval.high:+.4f}",
        ]
        for name, arm in found.arms.items()
    ]
    title = f"{found.documents} documents, {found.tokens} tokens predicted after a place to think"
    console().print(grid(title, ["thought", "nats/token", "95%", "minus thoughts", "95%"], rows))
    if json:
        say_json(asdict(found))
