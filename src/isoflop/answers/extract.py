r"""Reads the answer out of a solution's text by declared formats, in linear time whatever the text.

Formats are tried in the order declared, and the last occurrence of the first one that is there counts:

- `boxed`: `\boxed{...}`, braces balanced, the innermost of nested boxes; a box cut off before its end is none;
- `the_answer_is`: "The answer is ..." or "answer (arabic numerals) is ...", any case, to the end of the sentence;
- `hashes`: `#### ...`, to the end of the line, as in the solutions of GSM8K (arXiv 2110.14168).

The last number of the text is a fallback, and marked as one: it may be any number of the working, or one copied from
the question (more than a third were, in the samples behind arXiv 2412.16260). What an answer means is not decided here,
but in `number.py` and `verify.py`.

    extract("6 * 7 = 42. The answer is **42**.")     # Extracted("42", "the_answer_is")
    extract("that makes 42")                          # Extracted("42", "last_number", is_fallback=True)
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from isoflop.answers.base import Extracted
from isoflop.errors import SpecError, did_you_mean

AnswerFormat = Literal["boxed", "the_answer_is", "hashes"]
NumberFallback = Literal["last_number"]
FORMATS: tuple[AnswerFormat, ...] = get_args(AnswerFormat)

_BRACES = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
_ANSWER_IS = re.compile(r"\banswer(?:\s*\(arabic numerals\))?\s+is\b[\s:*#]*", re.IGNORECASE)
# A sentence ends at its line's end, at a period before white space, or where ", because ..." begins.
_SENTENCE_END = re.compile(r"\n|\.(?!\S)|,\s+[a-z]{2,}\b(?!\()")
_DISPLAY_MATHS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_HASHES = re.compile(r"(?<!#)####(?!#)")
# From the first digit on; what may stand before it is looked for behind the match, which is several times faster.
_NUMBER = re.compile(
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?(?:/[0-9]+)?(?:\\?%)?"
)
# A sign belongs to the number only where no operand stands before it: 10-3 ends in 3, not in -3.
_BEFORE_NUMBER = re.compile(r"(?:(?<![\w)\]}])[-−])?\$?\.?\Z")


def extract(
    text: str,
    formats: Sequence[AnswerFormat] = FORMATS,
    fallback: NumberFallback | None = "last_number",
) -> Extracted | None:
    """The answer in `text`, or None where no declared format is there (nor a number, with the fallback)."""
    for name in formats:
        if name not in _READERS:
            raise SpecError(f"answer format {name!r} is unknown{did_you_mean(name, FORMATS)}")
        found = _READERS[name](text)
        if found:
            return Extracted(found, name)
    if fallback is not None:
        found = last_number(text)
        if found:
            return Extracted(found, fallback, is_fallback=True)
    return None


def tidy(text: str) -> str:
    """`text` without the white space, emphasis and closing punctuation around it."""
    return text.strip(" \t\r\n*").rstrip(" \t\r\n*.,;:")


def last_number(text: str) -> str | None:
    """The last number in `text`, as written."""
    matches = deque(_NUMBER.finditer(text), maxlen=1)
    if not matches:
        return None
    number = matches[0]
    before = _BEFORE_NUMBER.search(text[max(0, number.start() - 4) : number.start()])
    return (before.group() if before else "") + number.group()


def _boxed(text: str) -> str | None:
    first = text.find("\\boxed")
    if first < 0:
        return None
    opened: list[int] = []  # where each open brace's content starts; negative for a brace that is no box
    best_start = best_end = -1
    for brace in _BRACES.finditer(text, first):
        mark = brace.group()
        if mark == "}":
            start = opened.pop() if opened else -1
            if start > best_start and text[start : brace.start()].strip():
                best_start, best_end = start, brace.start()
        elif mark.endswith("{") and mark != "\\{":
            opened.append(-1 if mark == "{" else brace.end())
    return text[best_start:best_end].strip() if best_start >= 0 else None


def _the_answer_is(text: str) -> str | None:
    for match in reversed(list(_ANSWER_IS.finditer(text))):
        start = match.end()
        closing = _DISPLAY_MATHS.get(text[start : start + 2])
        end = text.find(closing, start + 2) if closing else -1
        if end >= 0:
            found = text[start + 2 : end].strip()
        else:
            sentence_end = _SENTENCE_END.search(text, start)
            found = tidy(text[start : sentence_end.start()] if sentence_end else text[start:])
        if found:
            return found
    return None


def _hashes(text: str) -> str | None:
    for match in reversed(list(_HASHES.finditer(text))):
        line_end = text.find("\n", match.end())
        found = tidy(text[match.end() : line_end if line_end >= 0 else len(text)])
        if found:
            return found
    return None


_READERS: dict[str, Callable[[str], str | None]] = {
    "boxed": _boxed,
    "the_answer_is": _the_answer_is,
    "hashes": _hashes,
}
