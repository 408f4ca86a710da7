"""README says nothing that does not run: its Python, its links, and the names in its commands."""

import ast
import re
from pathlib import Path

from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.cli.main import app
from isoflop.core import Outcome, Problem
from isoflop.engines.scripted import Scripted
from isoflop.rewards.base import RewardContext
from isoflop.rewards.logprob import LogProb
from isoflop.search.drive import drive
from isoflop.search.job import Job

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_strategy_shown_is_a_strategy():
    [block] = [block for block in PYTHON if "class BestFirstStep" in block]
    names: dict[str, object] = {"__name__": "readme"}
    exec(block, names)
    strategy = names["BestFirstStep"]()
    reward = LogProb().open(RewardContext())
    job = Job("k", Problem("p", "q", "3"), Prompt(text="q\n"), strategy, SamplingParams(), 0, MathGrader(), reward)
    [attempt] = drive([[job]], Scripted(skill=0.9).open())
    assert attempt.outcome in (Outcome.CORRECT, Outcome.WRONG)
    assert len(attempt.candidates) == 4


def test_all_python_shown_parses():
    for block in PYTHON:
        ast.parse(block)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_verb_that_is_named_exists():
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"`?isoflop ([a-z]+)", README)) - {"runs", "study"} <= known
