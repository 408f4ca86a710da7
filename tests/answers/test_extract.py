"""Answers are found where their format says, the last one counts, and hostile text costs linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoflop.answers.base import Extracted
from isoflop.answers.extract import extract
from isoflop.errors import SpecError


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{1}, no: \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{3} and then \boxed{4 cut off", "3"),
        (r"\boxed{3}, fill in \boxed{ }", "3"),
        (r"} } { \boxed{5}", "5"),
    ],
)
def test_the_last_balanced_box_counts(text: str, answer: str) -> None:
    assert extract(text) == Extracted(answer, "boxed")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 5. The next question", "5"),
        ("the ANSWER IS 1,248.50.", "1,248.50"),
        ("Therefore, the answer (arabic numerals) is 18.", "18"),
        ("The answer is: **18**.", "18"),
        ("The answer is:\n\n18\nQ: How many", "18"),
        ("The answer is $18.00", "$18.00"),
        (r"The answer is $\frac{1}{2}$.", r"$\frac{1}{2}$"),
        ("The final answer is\n$$\nx = 5\n$$\nas wanted.", "x = 5"),
        ("The answer is 18, because 9 is half of it.", "18"),
        ("The answer is (1, 2).", "(1, 2)"),
        ("The answer is 3. Wait, no. The answer is 4.", "4"),
        ("The answer is 3. The answer is", "3"),
    ],
)
def test_the_last_answer_sentence_counts(text: str, answer: str) -> None:
    assert extract(text) == Extracted(answer, "the_answer_is")


def test_four_hashes_count_to_the_end_of_the_line() -> None:
    assert extract("48/2 = 24\n#### 1,248\nQ: 3 apples") == Extracted("1,248", "hashes")
    assert extract("##### Heading\n5 steps") == Extracted("5", "last_number", is_fallback=True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("in all 3 + 4 = 7 apples.", "7"),
        ("10-3", "3"),
        ("it fell by -3 degrees", "-3"),
        ("it fell to −3 degrees", "−3"),
        ("she pays $1,248.50.", "$1,248.50"),
        ("a share of 3/4!", "3/4"),
        ("about .5", ".5"),
        ("that makes 50%", "50%"),
        ("roughly 1e3", "1e3"),
        ("on days 1, 2, 30", "30"),
    ],
)
def test_the_last_number_is_a_marked_fallback(text: str, answer: str) -> None:
    assert extract(text) == Extracted(answer, "last_number", is_fallback=True)
    assert extract(text, fallback=None) is None


def test_formats_are_tried_in_the_order_declared() -> None:
    text = r"\boxed{1} The answer is 2. #### 3"
    assert extract(text) == Extracted("1", "boxed")
    assert extract(text, ("hashes", "boxed")) == Extracted("3", "hashes")
    assert extract("The answer is 2.", ("boxed",), fallback=None) is None
    assert extract("no answer here") is None


def test_an_unknown_format_is_an_error_that_names_the_allowed_ones() -> None:
    with pytest.raises(SpecError, match=r"'box' is unknown.*did you mean 'boxed'.*hashes"):
        extract("text", ("box",))  # type: ignore[arg-type]


def naive_box(text: str) -> str | None:
    """The last `\\boxed{` with a partner and content, found by counting braces anew from each one."""
    for start in reversed([index for index in range(len(text)) if text.startswith("\\boxed{", index)]):
        depth, index = 0, start + len("\\boxed")
        while index < len(text):
            if text[index] == "\\":
                index += 2
                continue
            depth += {"{": 1, "}": -1}.get(text[index], 0)
            if depth == 0:
                break
            index += 1
        content = text[start + len("\\boxed{") : index]
        if index < len(text) and content.strip():
            return content.strip()
    return None


@settings(deadline=None)
@given(st.lists(st.sampled_from(["\\boxed{", "{", "}", "\\{", "\\}", "a", " ", "1"]), max_size=20).map("".join))
def test_boxes_are_those_of_the_naive_twin(text: str) -> None:
    found = extract(text, ("boxed",), fallback=None)
    assert (found.text if found else None) == naive_box(text)


@pytest.mark.parametrize(
    "piece",
    ["{", "}", "\\boxed{", "\\boxed{ }", "\\boxed {", "9", "1,", "1,234,", "-", "answer ", "answer is ", "#### ",
     "####\n", "answer is.\n", ", ", "  ", "\\", "$", "The answer is $$", "1 ", "a", "./"],
)  # fmt: skip
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    started = time.perf_counter()
    extract(text)
    assert time.perf_counter() - started < 1.5  # a quadratic scan would take minutes
