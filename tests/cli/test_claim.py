"""`isoflop claim` from stored runs to verdicts, on the scripted engine: two training seeds, four families."""

import json
import re

import pytest

FAMILIES = {"B": [2, 4, 8], "T": [2, 8], "S": [2, 4], "C": [2, 4, 8]}


@pytest.fixture
def runs(isoflop, questions):
    """A run for each training seed; a better trained engine has more skill."""
    folders = []
    for seed, skill in enumerate((0.5, 0.6)):
        folders.append(f"run-{seed}")
        arguments = ["--model", f"scripted(steps=3, skill={skill})", "--problems", f"jsonl('{questions}')"]
        code, _, err = isoflop(
            "compare", *arguments, "--strategies", "greedy()", "self_consistency(n=[2,4,8])", "--out", folders[-1]
        )
        assert code == 0, err
    return folders


def test_choices_are_fixed_on_dev_and_hypotheses_evaluated_on_test(isoflop, runs, tmp_path):
    listed = {name: [f"self_consistency(n={n})" for n in sizes] for name, sizes in FAMILIES.items()}
    (tmp_path / "families.toml").write_text(
        "\n".join(['unit = "greedy()"', *(f"{name} = {json.dumps(labels)}" for name, labels in listed.items())])
    )
    code, out, err = isoflop("claim", "choose", *runs, "--families", "families.toml", "--out", "choices.toml")
    assert (code, out.strip()) == (0, "choices: choices.toml"), err
    code, out, _ = isoflop("claim", "test", *runs, "--choices", "choices.toml", "--resamples", "200", "--json")
    assert code == 0
    assert "H1 NOT supported" in out
    assert "no seconds were measured" in out
    document = json.loads(out.splitlines()[-1])
    assert document["training_seeds"] == 2
    assert document["problems"] == 6
    assert set(document["verdicts"]) == {"H0", "H1", "H2", "H3", "H4"}
    assert document["levels"]["32"]["C"]["cost"] <= 32
    assert document["controls"] == {}


def test_controls_lie_in_runs_of_their_own_and_the_figure_is_written(isoflop, runs, questions, tmp_path):
    tables = "\n".join(f"[flops.{b}]\n" + "\n".join(f'{f} = ["greedy()"]' for f in "BTSC") for b in (2, 4, 8, 16, 32))
    (tmp_path / "choices.toml").write_text(f'unit = "greedy()"\n{tables}\n[controls]\n"more" = ["best_of_n(n=2)"]\n')
    beside = []
    for seed, skill in enumerate((0.5, 0.6)):
        beside += ["--controls", f"beside-{seed}"]
        arguments = ["--model", f"scripted(steps=3, skill={skill})", "--problems", f"jsonl('{questions}')"]
        assert isoflop("compare", *arguments, "--strategies", "best_of_n(n=2)", "--out", beside[-1])[0] == 0
    asked = ["--choices", "choices.toml", "--resamples", "200", "--figure", "drawn", "--json"]
    code, out, err = isoflop("claim", "test", *runs, *beside, *asked)
    assert code == 0, err
    document = json.loads(out.splitlines()[-1])
    assert set(document["controls"]) == {"more"}
    assert set(document["control_levels"]) == {"C", "more"}
    assert document["control_problems"] == 6
    assert "drawn/claim.svg" in out.splitlines()
    code, out, _ = isoflop(
        "claim", "test", *runs, *beside, "--choices", "choices.toml", "--resamples", "200", "--markdown"
    )
    assert code == 0
    assert "| difference | points | 95 % interval | lower | p | by seed | accuracy (cost) |" in out
    assert re.search(r"^\| more +\|", out, re.MULTILINE)
    code, _, err = isoflop("claim", "test", *runs, *beside[:2], *asked)
    assert (code, "1 runs of further arms for 2 runs" in err) == (2, True)


def test_an_arm_that_a_run_lacks_is_named(isoflop, runs, tmp_path):
    tables = "\n".join(f"[flops.{b}]\n" + "\n".join(f'{f} = ["beam"]' for f in "BTSC") for b in (2, 4, 8, 16, 32))
    (tmp_path / "choices.toml").write_text(f'unit = "greedy()"\n{tables}\n')
    code, _, err = isoflop("claim", "test", *runs, "--choices", "choices.toml")
    assert code == 2
    assert "run-0: no arm 'beam'" in err
    code, _, err = isoflop("claim", "test", *runs, "--choices", "nowhere.toml")
    assert (code, "nowhere.toml: the choices cannot be read" in err) == (2, True)
