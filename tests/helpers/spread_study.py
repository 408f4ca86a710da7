"""A small study on two engines for the executors, and what of a record must not depend on who made it.

study = spread_study(tmp_path); [but_seconds(record) for record in run.attempts]
"""

from __future__ import annotations

from dataclasses import replace

from isoflop.studies.spec import Arm, Study

STRATEGIES = ("greedy()", "self_consistency(n=4)", "weighted_vote(n=8)", "rebase(width=4)", "beam(width=2, expand=2)")
PROBLEMS = 16
ATTEMPTS = PROBLEMS * 2 * len(STRATEGIES)


def spread_study(folder, settings=""):
    """16 problems, two seeds, five arms, of which the last two run on an engine of their own."""
    path = folder / "problems.jsonl"
    rows = (f'{{"id": "{n}", "question": "Is it {n}?", "answer": "{n}"}}\n' for n in range(PROBLEMS))
    path.write_text("".join(rows))
    models = [f"scripted(skill={skill}{settings})" for skill in (0.7, 0.7, 0.7, 0.6, 0.6)]
    arms = [Arm.of(model=one, strategy=two, prompt="plain()") for one, two in zip(models, STRATEGIES, strict=True)]
    return Study(f"jsonl(path='{path}')", arms, seeds=(0, 1), concurrency=3)


def but_seconds(record):
    """Everything that is stored of an attempt, but for seconds."""
    nodes = sorted((node.path, node.step, node.reward) for node in record.nodes)
    books = [
        {role: replace(cost, seconds=0.0) for role, cost in book.items()} for book in (record.spent, record.charged)
    ]
    verdict = (record.stop, record.message, record.outcome, record.answer, record.tied, record.prompt_text)
    return record.arm, record.problem.id, record.seed, verdict, nodes, books
