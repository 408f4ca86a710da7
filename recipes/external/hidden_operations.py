"""GSM8K's own calculator notes as hidden operations: the train problems as text to train on, in four forms.

GSM8K writes `48/2 = <<48/2=24>>24`: before a result stands what makes it. The forms have the same problems in the same
order, every result right behind "= ":

- `thoughts`: the note is thought before the result, not written;
- `visible`: the note is written, as GSM8K has it;
- `fillers`: as many thoughts that say nothing;
- `absent`: neither written nor thought.

Kept are problems whose notes all stand between an equals sign and their result and fit a thought, and whose visible
form fits the training window; so the forms differ in nothing else.

    python recipes/external/hidden_operations.py data/gsm8k DIR --form thoughts --out runs/external/gsm8k/thoughts.jsonl
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from isoflop.core import Problem
from isoflop.problems.gsm8k import GSM8K

FORMS = ("thoughts", "visible", "fillers", "absent")
FILLER = "---"  # what `isoflop quietstar train` fills thoughts up with
THOUGHT_TOKENS, WINDOW = 10, 192
END = "\n\n"  # the study's prompt stops there

_NOTE = re.compile(r"<<([^<>]*)>>")
# The equals sign in front of a note, with what stands between the two.
_BEFORE = re.compile(r"\s*=\s*\$?\s*\Z")

Count = Callable[[str], int]


def pieces(solution: str) -> list[tuple[str, str]] | None:
    """(text up to a result, its note) for each note, and what is left with no note; None where a note stands elsewhere.

    `sold 48/2 = <<48/2=24>>24 clips` gives [("sold 48/2 = ", "48/2=24"), ("24 clips", "")].
    """
    found, rest = [], solution
    while note := _NOTE.search(rest):
        before, behind = rest[: note.start()], rest[note.end() :]
        sign, result = _BEFORE.search(before), note[1].rpartition("=")[2].strip()
        if sign is None or not result or not behind.startswith(result):
            return None
        found.append((f"{before[: sign.start()]} = ", note[1]))
        rest = behind
    return [*found, (rest, "")] if found else None


def row_of(problem: Problem, parts: Sequence[tuple[str, str]], form: str) -> dict[str, Any]:
    """One line of the file: text, how much of it is given, and what is thought where."""
    prompt = f"Question: {problem.question}\nAnswer:\n"
    text, thoughts = prompt, [{"at": len(prompt), "text": FILLER}]  # a solution's first token begins a step, too
    for piece, note in parts:
        text += piece
        if note:
            thoughts.append({"at": len(text), "text": note if form == "thoughts" else FILLER})
        if note and form == "visible":
            text += f"<<{note}>>"
    row: dict[str, Any] = {"text": text + END, "prompt_chars": len(prompt)}
    return {**row, "thoughts": thoughts} if form in ("thoughts", "fillers") else row


def rows(problems: Sequence[Problem], form: str, count: Count) -> Iterator[dict[str, Any]]:
    """The rows of a form; `count` counts a text's tokens."""
    for problem in problems:
        parts = pieces(problem.meta["solution"])
        if parts is None or any(count(note) > THOUGHT_TOKENS for _, note in parts):
            continue
        if count(row_of(problem, parts, "visible")["text"]) <= WINDOW:
            yield row_of(problem, parts, form)


def main() -> None:
    """Write one form of the train split."""
    from transformers import AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="A folder with GSM8K's train.jsonl.")
    parser.add_argument("model", help="The model's folder, for its tokenizer.")
    parser.add_argument("--form", choices=FORMS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    problems = GSM8K(given.data).load("train")
    found = list(rows(problems, given.form, lambda text: len(tokenizer(text).input_ids)))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    print(f"{given.out}: {len(found):,} of {len(problems):,} train problems as {given.form}")


if __name__ == "__main__":
    main()
