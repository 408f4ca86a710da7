"""`isoflop report` and `isoflop export`, as they are typed."""

import json

import pytest


@pytest.fixture
def run(isoflop, questions, tmp_path):
    given = ["--model", "scripted(steps=2)", "--problems", f"jsonl('{questions}')", "--out", str(tmp_path / "run")]
    code, _, err = isoflop("compare", *given, "--strategies", "self_consistency(n=2)", "rebase(width=2)")
    assert code == 0, err
    return tmp_path / "run"


def test_a_report_is_one_file_and_says_its_size(isoflop, run):
    code, out, err = isoflop("report", str(run), "--price", "output=0.5", "--title", "Mine & <yours>", "--json")
    assert code == 0, err
    said = json.loads(out.splitlines()[-1])
    page = (run / "report.html").read_text()
    assert said == {"file": str(run / "report.html"), "bytes": len(page.encode()), "problems": 6, "without_trees": 0}
    assert str(run) not in page  # it is sent to others, who need not know the folder
    assert "<title>Mine &amp; &lt;yours&gt;</title>" in page
    assert "connect-src &#39;none&#39;" in page or "connect-src 'none'" in page
    assert "self_consistency(n=2) solves" in page or "rebase(width=2) solves" in page  # read without its scripts, too


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--price", "hours=1"], "did you mean 'hour'"),
        (["--price", "hour"], "--price 'hour' is not of the form NAME=VALUE"),
        (["-o", "/dev/null/report.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(isoflop, run, options, message):
    code, _, err = isoflop("report", str(run), *options)
    assert code == 2
    assert message in err.replace("\n", " ")


def test_tables_are_written_where_they_are_wanted(isoflop, run, tmp_path):
    wanted = ("--format", "jsonl", "--table", "attempts", "-o", str(tmp_path / "out"))
    code, out, err = isoflop("export", str(run), *wanted)
    assert code == 0, err
    assert out.split() == [str(tmp_path / "out" / "attempts.jsonl")]
    rows = [json.loads(line) for line in (tmp_path / "out" / "attempts.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert rows[0]["charged_total_flops"] > 0
    code, _, err = isoflop("export", str(run), "--format", "xlsx")
    assert code == 2
    assert "allowed: csv, jsonl, parquet" in err.replace("\n", " ")
