"""The registered study's files: the arms that were chosen and no others, H0's, the controls, and whose seed it is."""

import hashlib
import runpy
from pathlib import Path

import pytest

from isoflop.claim.choices import BUDGETS, Choices
from isoflop.studies.study_file import load_study

ROOT = Path(__file__).parents[2]
CLAIM = ROOT / "recipes" / "laboratory" / "claim"
CHOSEN = {
    "B": ("B weighted_vote(aggregate='min', n=4)", "B weighted_vote(aggregate='min', n=8)"),
    "T": ("T weighted_vote(aggregate='min', n=4)",),
    "S": ("S retry(tries=8)",),
    "C": ("C hot retry(tries=16, rounds=4)", "C retry(tries=8)"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    dev = load_study(CLAIM / "dev.toml").labels
    chosen = {family: tuple(sorted(labels, key=dev.index)) for family, labels in CHOSEN.items()}
    (folder / "chosen.toml").write_text(Choices("B greedy()", dict.fromkeys(BUDGETS, chosen)).to_toml())
    runpy.run_path(str(CLAIM / "write_study.py"))["main"](str(folder / "chosen.toml"), folder)
    return folder, chosen


def test_it_holds_what_the_hypotheses_need_on_problems_that_the_claim_draws(written):
    folder, chosen = written
    study, choices = load_study(folder / "claim.toml"), Choices.load(folder / "claim-choices.toml")
    assert set(study.labels) == set(choices.labels)
    assert {label for labels in chosen.values() for label in labels} < set(study.labels)
    assert (study.problems.n, study.split) == (4000, "test")
    assert study.problems.test_seed == hashlib.sha256((ROOT / "docs" / "claim.md").read_bytes()).hexdigest()
    assert load_study(folder / "claim.toml", {"split": "dev"}).split == "dev"
    dev = load_study(CLAIM / "dev.toml", {"models": "lab:"})
    arms = dict(zip(dev.labels, dev.arms, strict=True))
    for label, arm in zip(study.labels, study.arms, strict=True):
        if label in arms:
            assert (arm.engine, arm.strategy, arm.reward, arm.sampling) == (
                arms[label].engine, arms[label].strategy, arms[label].reward, arms[label].sampling,
            )  # fmt: skip


def test_every_control_stands_where_the_combination_stood(written):
    folder, chosen = written
    study, choices = load_study(folder / "claim-controls.toml"), Choices.load(folder / "claim-choices.toml")
    assert study.problems.n == 1000
    assert study.problems.test_seed == load_study(folder / "claim.toml").problems.test_seed
    assert set(study.labels) == {label for mix in choices.controls.values() for label in mix}
    own = load_study(folder / "claim.toml")
    arms = dict(zip(own.labels, own.arms, strict=True)) | dict(zip(study.labels, study.arms, strict=True))
    for control in ("visible scratchpad", "filler thoughts", "oracle reward"):
        for label, stands_for in zip(choices.controls[control], chosen["C"], strict=True):
            assert arms[label].strategy == arms[stands_for].strategy
            assert arms[label].sampling == arms[stands_for].sampling
