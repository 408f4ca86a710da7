"""`isoflop audit` as a user meets it."""

import json

import pytest


@pytest.fixture
def results(tmp_path):
    """Two configurations on four questions: the second is right where the first is wrong, but once."""
    lines = [f"baseline,{i},7,{7 if i == 0 else 8},{int(i == 0)},{7_650_672_640 * 60 * (i + 1)},2.5" for i in range(4)]
    lines += [f"mine,{i},7,{7 if i else 8},{int(i > 0)},," for i in range(4)]
    path = tmp_path / "results.csv"
    header = "configuration,question,gold,picked,correct,reported_flops,reported_seconds"
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def test_audit_prints_and_ends_with_json(isoflop, results):
    code, out, _ = isoflop("audit", results, "--json")
    assert code == 0
    assert "Not distinguishable is not equal" in out
    document = json.loads(out.splitlines()[-1])
    assert [arm["correct"] for arm in document["arms"]] == [1, 3]
    assert document["pairs"][0]["p"] == pytest.approx(0.625)
    assert document["prompt_tokens"] == 80
    code, out, _ = isoflop("audit", results, "--markdown")
    assert code == 0
    assert "| baseline | 1 | 25.0 \\[" in out or "| baseline | 1 | 25.0 [" in out


def test_audit_refuses_what_cannot_be_paired_with_the_fix(isoflop, results):
    code, _, err = isoflop("audit", results, results)
    assert (code, "is audited by itself" in err) == (2, True)
    code, _, err = isoflop("audit", "nowhere.jsonl")
    assert (code, "nowhere.jsonl does not exist" in err) == (2, True)
