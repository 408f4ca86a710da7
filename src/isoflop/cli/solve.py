"""`isoflop solve QUESTION`: one question, one strategy: the answer, the vote, the solution, the cost by role."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isoflop.cli.options import BudgetFlops, BudgetSeconds, BudgetTokens, Json

if TYPE_CHECKING:
    from rich.tree import Tree

    from isoflop.core import Attempt, Trajectory
    from isoflop.thought import ThoughtFigures

EXAMPLES = (
    'isoflop solve "Natalia sold clips to 48 friends ..." --model DIR --strategy "rebase(width=8)"'
    '\n\necho "What is 6 times 7?" | isoflop solve - --model "scripted(steps=3)" --gold 42 --tree'
)


def solve(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.", show_default=False)],
    model: Annotated[str, typer.Option("--model", help="Folder, hub id, or engine such as scripted(steps=3).")],
    strategy: Annotated[str, typer.Option("--strategy", help="See isoflop list strategy.")] = "greedy()",
    reward: Annotated[str | None, typer.Option("--reward", show_default="logprob() where one is needed")] = None,
    prompt: Annotated[str, typer.Option("--prompt")] = "chat()",
    sampling: Annotated[str, typer.Option("--sampling")] = "sampling()",
    budget_flops: BudgetFlops = None,
    budget_tokens: BudgetTokens = None,
    budget_seconds: BudgetSeconds = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    gold: Annotated[str | None, typer.Option("--gold", help="The right answer, to grade by.")] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Show the search tree.")] = False,
    show_thoughts: Annotated[
        bool, typer.Option("--show-thoughts", help="Show what was thought before tokens.")
    ] = False,
    json: Json = False,
) -> None:
    """Solve one question and say what it took."""
    from isoflop import api
    from isoflop.cli.output import say_json
    from isoflop.cost.ledger import Budget
    from isoflop.errors import EngineError, ProblemError

    text = sys.stdin.read() if question == "-" else question
    if not text.strip():
        raise ProblemError("the question is empty; give a text, or - to read it from standard input")
    attempt = api.solve(
        text.strip(),
        model=model,
        strategy=strategy,
        reward=reward,
        prompt=prompt,
        sampling=sampling,
        budget=Budget(budget_flops, budget_tokens, budget_seconds),
        seed=seed,
        gold=gold,
    )
    if attempt.stop == "error":
        raise EngineError(attempt.message)
    _print(attempt, tree)
    if show_thoughts:
        _print_thoughts(attempt)
    if json:
        say_json(document(attempt))


def document(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain values."""
    return {
        "answer": attempt.answer,
        "outcome": attempt.outcome.value,
        "stop": attempt.stop.value,
        "message": attempt.message,
        "votes": [{"answer": answer, "votes": votes, "weight": weight} for answer, votes, weight in _votes(attempt)],
        "tied": list(attempt.tied),
        "solution": _solution(attempt),
        "candidates": len(attempt.candidates),
        "nodes": len(attempt.nodes),
        "seconds": attempt.seconds,
        "thoughts": _thoughts(attempt).to_dict(),
        "cost": {role: cost.to_dict() | {"flops": cost.flops} for role, cost in attempt.charged.items()},
    }


def _print(attempt: Attempt, tree: bool) -> None:
    from isoflop.cli.output import console, grid
    from isoflop.report.units import three_digits, unit_for

    out = console()
    if tree:
        out.print(_tree(attempt))
    if solution := _solution(attempt):
        out.print("Solution", style="bold")
        out.print(solution.strip("\n"), markup=False)
        out.print()
    found = "no answer was found" if attempt.answer is None else attempt.answer
    out.print(f"Answer: {found}", style="bold green" if attempt.answer is not None else "bold yellow", markup=False)
    for note in _notes(attempt):
        out.print(note, style="dim", markup=False)
    if len(attempt.candidates) > 1:
        rows = [[answer or "none", str(votes), three_digits(weight)] for answer, votes, weight in _votes(attempt)]
        out.print(grid("Votes", ["answer", "votes", "weight"], rows))
    unit = unit_for(cost.flops for cost in attempt.charged.values())
    rows = [
        [role, three_digits(cost.flops / unit.size), *map(three_digits, (cost.prompt_tokens, cost.new_tokens))]
        for role, cost in attempt.charged.items()
    ]
    out.print(grid(f"Cost ({attempt.seconds:.1f} s)", ["role", unit.name, "prompt tokens", "new tokens"], rows))


def _print_thoughts(attempt: Attempt) -> None:
    """The chosen solution step by step; below each, its thoughts: weight, text, and what became the likeliest token."""
    from isoflop.cli.output import console

    out = console()
    steps = () if attempt.chosen is None else attempt.nodes[attempt.candidates[attempt.chosen].node].steps
    out.print("Thoughts (weight, thought, the likeliest next token without and with it)", style="bold")
    for step in steps:
        out.print(step.text.strip("\n"), markup=False, style="bold")
        for one in step.thoughts:
            change = f"{one.plain!r} -> {one.mixed!r}" if one.changed else f"{one.mixed!r} stays"
            out.print(f"  before token {one.at}: {one.weight:+.3f}  {one.text!r}  {change}", markup=False, style="dim")
    if not any(step.thoughts for step in steps):
        out.print("none: this model does not think, or nothing was worth a thought", style="dim")


def _thoughts(attempt: Attempt) -> ThoughtFigures:
    """How often there was a thought, and how often it changed the likeliest token."""
    from isoflop.thought import ThoughtFigures

    made = [node.step for node in attempt.nodes if node.step is not None]
    return ThoughtFigures.of((step.sampled, step.thoughts) for step in made)


def _notes(attempt: Attempt) -> list[str]:
    notes = [] if attempt.outcome.value == "ungraded" else [f"graded: {attempt.outcome.value.replace('_', ' ')}"]
    if (thoughts := _thoughts(attempt)).thoughts:
        notes.append(str(thoughts))
    if attempt.stop != "finished":
        notes.append(f"stopped by {attempt.stop.value.replace('_', ' ')}: {attempt.message}")
    if len(attempt.tied) > 1:
        notes.append(f"a tie, broken by seeded chance: {', '.join(attempt.tied)}")
    if attempt.chosen is not None and attempt.candidates[attempt.chosen].fallback:
        notes.append("read by fallback: the solution does not state its answer in a declared form")
    return notes


def _votes(attempt: Attempt) -> list[tuple[str | None, int, float | None]]:
    """(answer, votes, sum of weights) by what votes together, the most votes first."""
    found: dict[str | None, list[Any]] = {}
    for candidate in attempt.candidates:
        row = found.setdefault(candidate.label, [candidate.answer, 0, None])
        row[1] += 1
        row[2] = row[2] if candidate.weight is None else (row[2] or 0.0) + candidate.weight
    rows = sorted(found.values(), key=lambda row: (-(row[2] or 0.0), -row[1]))
    return [(answer, votes, weight) for answer, votes, weight in rows]


def _solution(attempt: Attempt) -> str | None:
    if attempt.chosen is None:
        return None
    return attempt.nodes[attempt.candidates[attempt.chosen].node].text


def _tree(attempt: Attempt) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    chosen: set[Trajectory] = set()
    node = None if attempt.chosen is None else attempt.nodes[attempt.candidates[attempt.chosen].node]
    while node is not None:
        chosen.add(node)
        node = node.parent
    top = Tree(Text("Tree: rewards of steps; the winning path in bold", style="bold"))
    branches: dict[Trajectory, Tree] = {}
    for place, each in enumerate(attempt.nodes):
        if each.step is None:
            continue
        reward = attempt.rewards[place]
        line = " ".join(each.step.text.split())
        shown = f"{line[:68]}…" if len(line) > 70 else line
        label = Text(f"{'' if reward is None else f'{reward:.3f}  '}{shown}", style="bold" if each in chosen else "dim")
        above = top if each.parent is None else branches.get(each.parent, top)
        branches[each] = above.add(label)
    return top
