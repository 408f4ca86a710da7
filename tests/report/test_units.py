"""Numbers as people read them."""

import pytest

from isoflop.report.units import duration, p_value, percent, points, three_digits, unit_for


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (1.5, "1.50"), (12.34, "12.3"), (1234.6, "1,235"), (0, "0"), (None, "–"), (float("inf"), "–"),
     (0.00012, "1.2e-04"), (-2.5, "-2.50")],
)  # fmt: skip
def test_three_digits(value, text):
    assert three_digits(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0.4, "0 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (7200, "2 h"),
     (276_000, "3 d 4 h")],
)  # fmt: skip
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_column_of_flops_has_the_unit_that_suits_its_middle():
    assert unit_for([3e9, 1.2e12, 4e12]).name == "TFLOPs"
    assert unit_for([None, 5e6]).name == "MFLOPs"
    assert unit_for([]).name == "FLOPs"


def test_shares_points_and_p_values():
    assert percent(0.3125) == "31.2"
    assert [points(-0.0001), points(0.05), points(-0.031)] == ["0.0", "+5.0", "-3.1"]
    assert [p_value(0.0004), p_value(0.25), p_value(None)] == ["<0.001", "0.250", "–"]
