"""docs/claim.md and the code that evaluates it say the same."""

import re
from pathlib import Path

from isoflop.claim.bootstrap import RESAMPLES
from isoflop.claim.choices import BUDGETS, FAMILIES
from isoflop.claim.choose import TRIALS
from isoflop.claim.hypotheses import LEAST_POINTS, LEVEL, OVERSPENDING
from isoflop.cli.main import app

TEXT = (Path(__file__).parents[2] / "docs" / "claim.md").read_text()


def test_levels_limits_and_budgets_are_those_of_the_code():
    assert f"b in {{{', '.join(map(str, BUDGETS))}}} times" in TEXT
    assert f"p < {LEVEL}" in TEXT
    assert f"at least {100 * LEAST_POINTS:g} points" in TEXT
    assert f"At most {TRIALS} arms a family" in TEXT
    assert f"by over {100 * OVERSPENDING:g}%" in TEXT
    assert f"{RESAMPLES:,} draws" in TEXT
    assert tuple(re.findall(r"^\| \*\*(\w)\*\* \|", TEXT, re.MULTILINE)) == FAMILIES


def test_what_is_still_open_is_marked_as_long_as_it_is_a_draft():
    draft = "Draft, not yet registered. The test split is untouched." in TEXT
    assert draft == ("OPEN" in TEXT)


def test_its_commands_exist():
    [group] = [group for group in app.registered_groups if group.name == "claim"]
    verbs = {command.name for command in group.typer_instance.registered_commands}
    assert set(re.findall(r"isoflop claim (\w+)", TEXT)) == verbs
