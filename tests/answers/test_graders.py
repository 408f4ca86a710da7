"""Graders: the same three questions answered for numbers and expressions, and for multiple choice."""

from __future__ import annotations

import pytest

from isoflop.answers.base import Extracted, Grader, Verdict
from isoflop.answers.graders import ChoiceGrader, MathGrader
from isoflop.errors import SpecError


@pytest.mark.parametrize(
    ("grader", "text", "right", "wrong"),
    [
        (MathGrader(), "48 / 2 = 24, 48 + 24 = 72. The answer is $72.00.", "72", "71"),
        (ChoiceGrader(), "Iron is a metal. The answer is (B).", "B", "C"),
    ],
)
def test_a_solution_is_read_verified_and_clustered(grader: Grader, text: str, right: str, wrong: str) -> None:
    read = grader.extract(text)
    assert read is not None
    assert not read.is_fallback
    assert grader.verify(read.text, right) is Verdict.CORRECT
    assert grader.verify(read.text, wrong) is Verdict.WRONG
    labels = grader.cluster([read.text, right, wrong, None])
    assert labels[0] == labels[1] != labels[2]
    assert labels[3] is None


def test_the_declared_formats_and_fallback_are_used() -> None:
    grader = MathGrader(formats=("hashes",), fallback=None)
    assert grader.extract("The answer is 5.") is None
    assert grader.extract("#### 5") == Extracted("5", "hashes")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed{\text{(C)}}", "C"),
        ("The answer is D: 42.", "D"),
        ("The answer is (e)", "E"),
        ("The answer is option B because it floats", "B"),
        ("A bird in the hand, so (C).", "C"),
        ("It cannot be B.\nSo it is\nD", "D"),
    ],
)
def test_choices_are_read(text: str, letter: str) -> None:
    read = ChoiceGrader().extract(text)
    assert read is not None
    assert read.text == letter


def test_a_choice_that_is_no_letter_is_unverifiable() -> None:
    grader = ChoiceGrader(choices="ABCD")
    read = grader.extract("The answer is 42.")
    assert read == Extracted("42", "the_answer_is")
    assert grader.verify("42", "A") is Verdict.UNVERIFIABLE
    assert grader.verify("E", "A") is Verdict.UNVERIFIABLE
    assert grader.extract("A bird in the hand") is None
    assert ChoiceGrader(fallback=None).extract("So (B).") is None


def test_wrong_settings_are_errors() -> None:
    with pytest.raises(SpecError, match="'boxd' is unknown; did you mean 'boxed'"):
        MathGrader(formats=("boxd",))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="fallback 'first' is unknown; allowed: 'last_number' or None"):
        MathGrader(fallback="first")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="choices='ABA' must be distinct capital letters"):
        ChoiceGrader(choices="ABA")
