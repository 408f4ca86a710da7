"""Figures: the files exist, say what they show, and look the same for the same run."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from isoflop.api import Run, study_of
from isoflop.errors import MissingExtraError, StudyError
from isoflop.report.comparison import measures_of, score_interval
from isoflop.report.figure import Figures
from isoflop.report.placing import Name, place_names
from isoflop.report.style import REFERENCE_COLOUR, ink, looks
from isoflop.report.table import Table
from isoflop.stats.arms import ArmData

STRATEGIES = ["greedy()", "best_of_n(n=4)", "rebase(width=[2,4])", "beam(width=2, expand=2)"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(10)]
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    study = study_of(model="scripted(steps=2, skill=0.6)", problems=f"jsonl('{folder / 'q.jsonl'}')",
                     strategies=STRATEGIES, reference="greedy()", name="small")  # fmt: skip
    made = Run.create(study, folder / "run")
    made.execute()
    return made


def with_seconds(table):
    """The same table as if the engine had measured seconds: a scripted one takes none."""

    def timed(arm):
        data = arm.data
        seconds = data.flops / 1e6
        charged = {"policy": replace(arm.charged["policy"], seconds=float(seconds.sum()))}
        return replace(arm, charged=charged, data=ArmData(arm.label, data.problems, data.correct, data.flops, seconds))

    return replace(table, arms=tuple(map(timed, table.arms)))


def test_every_figure_is_written_as_png_and_svg(run, tmp_path):
    files = Figures.of(run).save(tmp_path / "figures")
    stems = ("study", "frontier", "samples")
    assert sorted(file.name for file in files) == sorted(f"{stem}.{form}" for stem in stems for form in ("png", "svg"))
    for file in files:
        start = file.read_bytes()[:100]
        assert start.startswith(b"\x89PNG") if file.suffix == ".png" else b"<?xml" in start


def test_the_study_figure_names_panels_arms_units_and_n(run, tmp_path):
    Figures.of_table(with_seconds(Table.of(run))).save(tmp_path)
    drawing = (tmp_path / "study.svg").read_text()
    for text in ("(a) accuracy – FLOPs", "(b) accuracy – runtime", "(c) efficiency score", "MFLOPs per problem"):
        assert text in drawing
    assert "seconds per problem (modelled)" in drawing
    assert "n = 10 problems" in drawing
    assert "95 % intervals (Wilson)" in drawing
    assert all(label in drawing for label in run.study.labels)


def test_a_panel_without_numbers_says_so(run, tmp_path):
    Figures.of(run).save(tmp_path)
    assert "not measured by this engine" in (tmp_path / "study.svg").read_text()


def test_the_frontier_figure_names_every_arm_and_the_frontier(run, tmp_path):
    Figures.of(run).save(tmp_path)
    drawing = (tmp_path / "frontier.svg").read_text()
    assert "Pareto frontier" in drawing
    assert all(label in drawing for label in run.study.labels)


def test_the_same_run_draws_the_same_svg(run, tmp_path):
    Figures.of(run).save(tmp_path / "a")
    Figures.of(run).save(tmp_path / "b")
    assert (tmp_path / "a" / "study.svg").read_bytes() == (tmp_path / "b" / "study.svg").read_bytes()


def test_a_notebook_shows_all_figures(run):
    assert Figures.of(run)._repr_html_().count("<svg") == 3


def test_a_family_has_one_look_and_families_differ(run):
    named = looks(run.study)
    assert named["rebase(width=2)"] == named["rebase(width=4)"]
    assert named["greedy()"].colour == REFERENCE_COLOUR
    families = {named[label] for label in run.study.labels}
    assert len({look.colour for look in families}) == len({look.marker for look in families}) == 4


def test_names_never_overlap_each_other_or_the_markers():
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(6, 4), dpi=100)
    axes = figure.subplots()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    rng = np.random.default_rng(0)
    points = 0.4 + 0.2 * rng.random((12, 2))
    placed = place_names(axes, [Name(f"strategy(n={i})", x, y, "#332288") for i, (x, y) in enumerate(points)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # of the letters, without the line to the point
    assert placed == len(boxes) >= 10
    centres = axes.transData.transform(points)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert not any(box.contains(x, y) for x, y in centres)


@pytest.mark.parametrize("colour", ["#DDCC77", "#88CCEE", "#000000", "#332288"])
def test_ink_is_readable_on_white(colour):
    from matplotlib.colors import to_rgb

    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(ink(colour))]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.3


def test_the_published_score_is_its_formula_and_lies_in_its_interval(run):
    table = with_seconds(Table.of(run))
    arm = next(arm for arm in table.arms if arm.label == "rebase(width=4)")
    percent, tflops, seconds = 100 * arm.accuracy, arm.flops_per_problem / 1e12, arm.seconds_per_problem
    score = measures_of(arm).efficiency_score
    assert score == pytest.approx(percent / tflops * percent / seconds * 100)
    assert score in score_interval(arm)


def test_nothing_finished_is_nothing_to_draw(run, tmp_path):
    with pytest.raises(StudyError, match="'small' has no graded attempts yet"):
        Figures.of(Run.create(run.study, tmp_path / "new"))


def test_without_matplotlib_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"isoflop\[report\]"):
        Figures.of(run)
