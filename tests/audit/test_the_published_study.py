"""docs/the-published-study.md says what the audit finds: every figure of its two tables, and those in its text."""

import re
from pathlib import Path

import pytest

from isoflop.audit.audit import Audit
from isoflop.audit.layout import sections
from isoflop.audit.published import read_published

ROOT = Path(__file__).parents[2]
PAPER = ROOT.parent / "shared" / "paper"
TEXT = (ROOT / "docs" / "the-published-study.md").read_text()


@pytest.fixture(scope="module")
def found():
    runs, candidates = PAPER / "published_runs.csv", PAPER / "published_candidates.csv"
    return Audit.of(read_published(runs, prompt_tokens=80, candidates=candidates), "published_runs.csv", 80)


def rows(heading):
    """The cells of the table under a heading row, by configuration."""
    lines = TEXT[TEXT.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


needs_logs = pytest.mark.skipif(not (PAPER / "published_runs.csv").exists(), reason="needs shared/paper")


@needs_logs
@pytest.mark.parametrize(
    ("heading", "section", "columns"),
    [
        ("configuration", 0, ["right", "accuracy % [95 %]", "acc/TFLOP", "acc/s", "score"]),
        ("TFLOPs a question", 1, ["ideal TFLOPs", "alone", "as run", "reported", "run/reported"]),
    ],
)
def test_tables_are_the_audits_own(found, heading, section, columns):
    given = {column.heading: column.cells for column in sections(found)[section][1]}
    names = given["configuration"]
    assert rows(heading) == {name: [given[column][place] for column in columns] for place, name in enumerate(names)}


@needs_logs
def test_figures_in_the_text_are_the_audits_own(found):
    arms = {arm.name: arm for arm in found.arms}
    held = [round(128 * arm.choice.any_right) for arm in found.arms]
    right = [round(128 * arm.data.accuracy) for arm in found.arms]
    for any_right, picked in zip(held, right, strict=True):
        assert f"{any_right} and {picked}" in TEXT
    searches = [arm for name, arm in arms.items() if "rebase" in name]
    others = [pair.p for pair in found.pairs if "quiet-star" not in (pair.a, pair.b)]
    assert len(others) == 10
    assert min(others) == pytest.approx(0.48, abs=0.005)
    best = next(pair for pair in found.pairs if (pair.a, pair.b) == ("baseline", "quiet-star"))
    assert (best.a_only, best.b_only) == (4, 32)
    assert best.p_holm == pytest.approx(3e-5, rel=0.1)
    assert sum(len(arm.disputed) for arm in searches) == 6
    assert len({question for arm in searches for question in arm.disputed}) == 3
    rates = [arm.compute.as_run / arm.reported_seconds / 1e12 for arm in found.arms if arm.compute.as_run > 1e15]
    assert (round(min(rates)), round(max(rates))) == (59, 83)
    quiet, base = arms["quiet-star"].compute, arms["baseline"].compute
    assert quiet.ideal / base.ideal == pytest.approx(8.7, abs=0.05)
    scores = sorted(found.measures(arm).efficiency_score for arm in found.arms)
    assert scores[-1] / found.measures(arms["baseline"]).efficiency_score == pytest.approx(34, abs=0.5)


def test_every_statement_says_where_it_comes_from():
    tags = re.findall(r"\*\*\[(\w+)\]\*\*", TEXT)
    assert set(tags) == {"logs", "code", "estimate"}
    for title in ("What stands", "What the logs show", "What was run", "What it cost"):
        section = TEXT[TEXT.index(f"## {title}") :].split("\n## ")[0]
        for statement in re.findall(r"\n- (.*?)(?=\n- |\n\n|\Z)", section, re.DOTALL):
            estimated = title == "What it cost"  # said once for the whole section
            assert estimated or re.search(r"\*\*\[\w+\]\*\*", statement), statement[:80]
