"""Worked examples for few-shot prompts, written for this package: no example comes from a public problem set.

Each solution shows the declared form: one calculation a line, no blank lines, and a last line "The answer is N."
"""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A question and its solution in the declared form."""

    question: str
    solution: str


EXAMPLES = (
    Example(
        question=(
            "A bakery packs 6 rolls in a bag and sells each bag for $4. On Monday it baked 90 rolls and sold every "
            "full bag. How many dollars did it take in?"
        ),
        solution=("The 90 rolls fill 90 / 6 = 15 bags.\nThe bags bring in 15 * 4 = 60 dollars.\nThe answer is 60."),
    ),
    Example(
        question=(
            "Lena's train leaves at 9 am and covers 80 km an hour. After 3 hours it has done 60% of its way. "
            "How many kilometres are left?"
        ),
        solution=(
            "In 3 hours the train covers 3 * 80 = 240 km.\n"
            "Those are 60% of the way, so the whole way is 240 / 0.6 = 400 km.\n"
            "There are 400 - 240 = 160 km left.\nThe answer is 160."
        ),
    ),
    Example(
        question=(
            "Tom has 14 marbles, Ada has twice as many, and Ben has 9 fewer than Ada. "
            "How many marbles do they have together?"
        ),
        solution=(
            "Ada has 14 * 2 = 28 marbles.\nBen has 28 - 9 = 19 marbles.\n"
            "Together they have 14 + 28 + 19 = 61 marbles.\nThe answer is 61."
        ),
    ),
    Example(
        question=(
            "A tank holds 500 litres and is one fifth full. A pump adds 25 litres a minute. "
            "How many minutes does it take to fill the tank?"
        ),
        solution=(
            "The tank holds 500 / 5 = 100 litres now.\nIt needs 500 - 100 = 400 litres more.\n"
            "That takes 400 / 25 = 16 minutes.\nThe answer is 16."
        ),
    ),
)
