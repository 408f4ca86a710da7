"""`isoflop compare`: a study from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isoflop.cli.options import BudgetFlops, BudgetSeconds, BudgetTokens, Concurrency, Json, RetryErrors

EXAMPLES = (
    "isoflop compare --model DIR --problems \"gsm8k(path='test.jsonl', limit=64)\" "
    '--strategies "greedy()" "self_consistency(n=8)" "rebase(width=[2,4,8])"'
    "\n\nisoflop compare --model SMALL LARGE --problems \"jsonl('exam.jsonl')\" --strategies greedy best_of_n(n=64)"
    "\n\nLists multiply: every model x strategy x reward x prompt x sampling is an arm. Names: isoflop list"
)


def compare(
    model: Annotated[list[str], typer.Option("--model", help="Folder, hub id, or engine such as scripted(steps=3).")],
    problems: Annotated[str, typer.Option("--problems", help="A problem set, such as gsm8k(path='DIR', limit=64).")],
    strategies: Annotated[list[str], typer.Option("--strategies", help="One or more strategies.")],
    reward: Annotated[list[str] | None, typer.Option("--reward", show_default="logprob() where one is needed")] = None,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", show_default="chat()")] = None,
    sampling: Annotated[list[str] | None, typer.Option("--sampling", show_default="sampling()")] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option("--protocol", help="as-published: by that study's rules.", show_default="corrected"),
    ] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seeds", show_default="0")] = None,
    split: Annotated[str, typer.Option("--split", help="Of the problem set: dev, test, or train.")] = "test",
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="The arm that others are tested against.", show_default="the first"),
    ] = None,
    budget_flops: BudgetFlops = None,
    budget_tokens: BudgetTokens = None,
    budget_seconds: BudgetSeconds = None,
    concurrency: Concurrency = None,
    name: Annotated[str, typer.Option("--name", help="Names the run folder.")] = "comparison",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/NAME-HASH")] = None,
    retry_errors: RetryErrors = False,
    json: Json = False,
) -> None:
    """Compare strategies, models, rewards on the same problems; the same command resumes. Prints the table."""
    from isoflop.api import study_of
    from isoflop.cli.running import run_and_print
    from isoflop.cost.ledger import Budget

    declared = {
        "model": model,
        "problems": problems,
        "strategies": strategies,
        "reward": reward,
        "prompt": prompt or "chat()",
        "sampling": sampling or "sampling()",
        "budget": Budget(budget_flops, budget_tokens, budget_seconds),
        "protocol": protocol,
        "seeds": seeds or [0],
        "split": split,
        "name": name,
        **({"concurrency": concurrency} if concurrency else {}),
    }
    study = study_of(**declared, reference=reference)  # type: ignore[arg-type]
    if reference is None:
        study = study_of(**declared, reference=study.labels[0])  # type: ignore[arg-type]
    run_and_print(study, out, retry_errors=retry_errors, as_json=json)
