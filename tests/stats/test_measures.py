"""The published table follows from the published runs; J and the break-even point by hand."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from isoflop.errors import StudyError
from isoflop.stats.measures import break_even_problems, study_measures, utility

PAPER = Path(__file__).parents[2].parent / "shared" / "paper"


@pytest.mark.skipif(not (PAPER / "published_runs.csv").exists(), reason="needs shared/paper/published_runs.csv")
def test_the_published_table_follows_from_the_published_runs():
    runs = defaultdict(list)
    with (PAPER / "published_runs.csv").open() as file:
        for row in csv.DictReader(file):
            runs[row["configuration"]].append(
                [float(row[c]) for c in ("correct", "reported_flops", "reported_seconds")]
            )
    lines = [line.strip("| \n").split(" | ") for line in (PAPER / "README.md").read_text().splitlines()]
    table = {line[0]: [float(cell) for cell in line[1:]] for line in lines if line[0] in runs and len(line) == 7}
    assert len(table) == len(runs) == 6
    for configuration, (percent, tflops, seconds, per_tflop, per_second, score) in table.items():
        correct, flops, measured_seconds = np.mean(runs[configuration], axis=0)
        ours = study_measures(100 * correct, flops / 1e12, measured_seconds)
        assert 100 * correct == pytest.approx(percent, abs=0.00501)
        assert flops / 1e12 == pytest.approx(tflops, abs=0.006)
        assert measured_seconds == pytest.approx(seconds, rel=1e-3)
        assert ours.accuracy_per_tflop == pytest.approx(per_tflop, abs=0.0075)
        assert ours.accuracy_per_second == pytest.approx(per_second, abs=0.005)
        # The table multiplied factors already rounded to two places: 0.06 for 0.0578 is 4 % off by itself.
        rounding = 0.0075 / per_tflop + 0.005 / per_second
        assert ours.efficiency_score == pytest.approx(score, rel=rounding)


def test_the_score_is_the_product():
    measures = study_measures(10.0, 2.0, 50.0)
    assert (measures.accuracy_per_tflop, measures.accuracy_per_second) == (5.0, 0.2)
    assert measures.efficiency_score == pytest.approx(100.0)
    with pytest.raises(StudyError, match="divide by 0 TFLOPs"):
        study_measures(10.0, 0, 1.0)


def test_utility_charges_compute_in_greedy_answers():
    assert utility(0.41, 4e12, 1e12, lam=0.005) == pytest.approx(0.39)
    assert utility(0.41, 4e12, 1e12, lam=0) == 0.41
    with pytest.raises(StudyError, match="greedy_flops > 0"):
        utility(0.4, 1.0, 0, lam=0.01)


def test_break_even():
    assert break_even_problems(1000, 300) == 4
    assert break_even_problems(0, 300) == 0
    assert break_even_problems(1000, 0) is None
    assert break_even_problems(1000, -5) is None
    with pytest.raises(StudyError, match="cannot be negative"):
        break_even_problems(-1, 5)
