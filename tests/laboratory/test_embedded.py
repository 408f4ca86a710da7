"""Models by their light name: every place that takes a folder takes `lab:NAME`; what ships is small and described."""

import json

import pytest
from typer.testing import CliRunner

from isoflop.claim.choices import Choices
from isoflop.cli.main import app
from isoflop.cost.shape import load_shape
from isoflop.embedded import WEIGHTS, embedded_names, model_folder
from isoflop.errors import ModelError
from isoflop.laboratory import CHOICES, CLAIM, DEMO
from isoflop.rewards.head_folder import load_head
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.studies.study_file import load_study

MODELS = ("base", "thoughts")


def test_other_names_stay_what_they_are():
    assert model_folder("runs/mine") == "runs/mine"
    with pytest.raises(ModelError, match=r"'lab:bass' does not come with the package; did you mean 'lab:base'\?"):
        model_folder("lab:bass")


def test_what_ships_is_small_and_says_what_it_is():
    assert {*MODELS, "base-reward", "thoughts-reward"} <= set(embedded_names())
    for name in embedded_names():
        weights = list((WEIGHTS / name).glob("*.safetensors"))
        assert weights
        assert sum(path.stat().st_size for path in weights) <= 5_000_000
        assert (WEIGHTS / name / "README.md").read_text().strip()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_an_ordinary_one_of_transformers(name):
    model, tokenizer = load_model(f"lab:{name}"), load_tokenizer(f"lab:{name}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert 300_000 <= parameters <= 1_000_000
    assert load_shape(f"lab:{name}").parameters == parameters
    assert tokenizer.decode(tokenizer("d = 7").input_ids) == "d = 7"


@pytest.mark.parametrize("name", MODELS)
def test_its_reward_reads_it(name):
    assert load_head(f"lab:{name}-reward").hidden_size == load_shape(f"lab:{name}").hidden_size


def test_the_demo_runs_every_arm(tmp_path, monkeypatch):
    study = DEMO.read_text()
    assert study.count("n=200,") == 1
    study = study.replace("n=200,", "n=3,")
    small = tmp_path / "demo.toml"
    small.write_text(study)
    monkeypatch.setattr("isoflop.laboratory.DEMO", small)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "run"), "--workers", "1", "--json"])
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout.strip().splitlines()[-1])
    assert len(table["arms"]) == len(load_study(DEMO).arms)
    assert all(arm["attempts"] == 3 and not arm["missing"] for arm in table["arms"])
    assert (tmp_path / "run" / "figures" / "frontier.svg").is_file()


def test_the_full_demo_is_the_registered_study_with_its_verdicts(tmp_path, monkeypatch):
    small = tmp_path / "claim.toml"
    small.write_text(CLAIM.read_text().replace('n = "4000", split = "test"', 'n = "2", split = "dev"'))
    monkeypatch.setattr("isoflop.laboratory.CLAIM", small)
    result = CliRunner().invoke(app, ["demo", "--full", "--out", str(tmp_path / "run"), "--workers", "1", "--json"])
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout.strip().splitlines()[-1])
    assert len(table["arms"]) == len(Choices.load(CHOICES).labels)
    assert all(arm["attempts"] == 2 and not arm["missing"] for arm in table["arms"])
    assert all(f"H{number}" in result.stdout for number in range(4))
    assert (tmp_path / "run" / "figures" / "claim.svg").is_file()


def test_the_demo_is_the_published_table_and_the_corrected_one():
    study = load_study(DEMO)
    assert study.problems.n >= 200
    published = [arm for arm in study.arms if arm.name.startswith("published")]
    assert [str(arm.strategy).partition("(")[0] for arm in published] == [
        *["published_vote"] * 2,
        *["published_rebase"] * 4,
    ]
