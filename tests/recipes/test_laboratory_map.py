"""The map's points run on the models in the package, and its table, numbers and figure are made of what was run."""

import json
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoflop.cli.main import app

FOLDER = Path(__file__).parents[2] / "recipes" / "laboratory" / "map"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    runs = tmp_path_factory.mktemp("map")
    for point, problems, sigma in (("ops-1", "ops=[1], n=3", "0"), ("noise-1000", "ops=[2], n=3", "1000")):
        options = {"models": "lab:", "problems": f"hiddenops(n_steps=[4], {problems})", "sigma": sigma}
        settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
        command = ["study", "run", str(FOLDER / "map.toml"), *settings, "--out", str(runs / point)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    runpy.run_path(str(FOLDER / "map.py"))["main"](str(runs), str(runs / "shown"))
    return runs / "shown"


def test_points_stand_by_axis_with_their_four_families(folder):
    points = json.loads((folder / "map.json").read_text())
    assert list(points) == ["ops-1", "noise-1000"]
    assert all(points[name][family]["units"] > 1 for name in points for family in "BTSC")
    assert points["ops-1"]["C"]["accuracy"] == 1.0  # nothing is hidden, nothing skipped


def test_the_table_and_the_figure_say_the_same(folder):
    rows = [row.split(" | ") for row in (folder / "map.md").read_text().splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [
        "operations hidden in each step",
        "noise on the reward's logits",
    ]
    assert rows[0][6].startswith("100.0 (")
    assert (folder / "map.png").is_file()
    assert (folder / "map.svg").is_file()
