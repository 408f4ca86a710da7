"""Plain numbers are read exactly in all their spellings; what is no plain number is left alone."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.answers.number import read_number, same_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20000", 20000),
        ("1,248", 1248),
        ("1,248,000.50", Fraction("1248000.5")),
        ("−3", -3),
        ("- 3", -3),
        ("+7", 7),
        ("3/4", Fraction(3, 4)),
        ("-1.5/2", Fraction(-3, 4)),
        ("2 1/2", Fraction(5, 2)),
        ("-2 1/2", Fraction(-5, 2)),
        ("$18.00", 18),
        (r"\$1,000", 1000),
        ("-$5", -5),
        ("$-5", -5),
        ("€ 12", 12),
        ("1e3", 1000),
        ("1.5E-3", Fraction(3, 2000)),
        (r"1.2 \times 10^{3}", 1200),
        ("6 × 10^2", 600),
        ("18.", 18),
        (".5", Fraction(1, 2)),
        ("18 dollars", 18),
        ("18 dollars a day.", 18),
        ("5 km/h", 5),
        ("2 million", 2_000_000),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"2\frac{1}{2}", Fraction(5, 2)),
        (r"$\frac{3}{4}$", Fraction(3, 4)),
        ("$18$", 18),
        ("$$18$$", 18),
        (r"\(18\)", 18),
        (r"18\text{ dollars}", 18),
        (r"\text{18}", 18),
        (r"90^\circ", 90),
        ("1\u2009248", 1248),
        ("1\u202f248", 1248),
        ("1\u00a0248", 1248),
        ("20 000", 20000),
        (r"1\,248", 1248),
        (r"1,\!248", 1248),
        ("1{,}248", 1248),
    ],
)
def test_spellings_are_read_exactly(text: str, value: Fraction | int) -> None:
    number = read_number(text)
    assert number is not None
    assert number.value == value
    assert not number.is_percent


@pytest.mark.parametrize("text", ["50%", r"50\%", "50 %", "50 percent", "50.0% of the eggs"])
def test_a_percent_sign_is_kept_beside_the_value(text: str) -> None:
    number = read_number(text)
    assert number is not None
    assert (number.value, number.is_percent) == (50, True)


@pytest.mark.parametrize(
    "text",
    ["", "eleven", "x", "5x", "5 x", r"2\pi", "2 pi", "18 and a half", "3 or 4", "1 to 2", "1,24", "12,3456", "1.2.3",
     "--5", "3/0", "0x10", "1_000", "٣", "10:30", "2^10", "(1, 2)", "1e1000", ".", "$", "%", "9" * 1001, "5!"],
)  # fmt: skip
def test_what_is_no_plain_number_is_none(text: str) -> None:
    assert read_number(text) is None


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_decimals_are_read_as_the_standard_library_reads_them(value: object) -> None:
    for text in (f"{value:.4f}", f"{value:,.4f}", f"${value:.4f}$"):
        number = read_number(text)
        assert number is not None
        assert number.value == Fraction(f"{value:.4f}")


@settings(deadline=None)
@given(st.fractions(min_value=-1000, max_value=1000), st.integers(6, 12))
def test_a_long_decimal_equals_the_fraction_it_rounds(value: Fraction, places: int) -> None:
    written = f"{round(value, places).numerator / round(value, places).denominator:.{places}f}"
    exact, decimal = read_number(str(value)), read_number(written)
    assert exact is not None
    assert decimal is not None
    # A decimal that ends early stands for itself alone.
    assert same_number(exact, decimal) or decimal.decimal_places < 6


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("0.5", "1/2", True),
        ("0.333333", "1/3", True),
        ("0.33333", "1/3", False),
        ("0.333334", "1/3", False),
        ("3.0000001", "3", False),
        ("3.14159265", "3.141593", True),
        ("50%", "50", True),
        ("50%", "0.5", True),
        ("50%", "1/2", True),
        ("50%", "5", False),
        ("33.333333%", "1/3", True),
        ("50%", "0.5%", False),
    ],
)
def test_equality_of_numbers(one: str, other: str, equal: bool) -> None:
    first, second = read_number(one), read_number(other)
    assert first is not None
    assert second is not None
    assert same_number(first, second) is same_number(second, first) is equal
