"""Format and tokenizer together: a question and its steps -> tokens, and the position of each step's reading.

It runs no model. A passage ends at the last position that is read.

    encoder = Encoder(MATH_SHEPHERD, tokenizer)
    [passage] = encoder.encode("How much is 1 + 1?", ["1 + 1 = 2\\n", "The answer is 2"])
    passage.tokens, passage.reads
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoflop.errors import ModelError
from isoflop.rewards.format import Format, fill

# Stands for a mark while a chat template renders the text around it; one that the text does not hold is taken.
_STAND_INS = [chr(code) for code in range(0xE000, 0xE010)]


@dataclass(frozen=True, slots=True)
class Passage:
    """Tokens, and the positions in them that are read, in order."""

    tokens: tuple[int, ...]
    reads: tuple[int, ...]


class Encoder:
    """`skip` is a token at which no end is read (transformers' classifiers pass over padding at the end)."""

    def __init__(self, form: Format, tokenizer: Any, *, skip: int | None = None) -> None:
        self.form, self.tokenizer, self._skip = form, tokenizer, skip
        if form.turns != "none" and not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, and this reward asks in turns; "
                "give a checkpoint whose tokenizer has one"
            )
        self._pieces: dict[str, tuple[int, ...]] = {}

    def encode(self, question: str, steps: Sequence[str], *, last_only: bool = False) -> list[Passage]:
        """Passages whose readings, one behind the other, are those of the steps (of the last one where `last_only`)."""
        if self.form.read == "end":
            first = len(steps) if last_only else 1
            return [self._whole(question, steps[:end]) for end in range(first, len(steps) + 1)]
        tokens, reads = self._apart(question, steps) if self.form.apart else self._together(question, steps)
        wanted = reads[-1:] if last_only else reads
        return [Passage(tokens[: wanted[-1] + 1], wanted)]

    def _apart(self, question: str, steps: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        form = self.form
        tokens = list(self._ids(fill(form.opening, question=question, bos=self.tokenizer.bos_token or "")))
        mark, reads = self._ids(form.mark), []
        for number, step in enumerate(steps, 1):
            text = form.shown(number, step)
            for line in text.split(form.mark) if form.inner_marks else [text]:
                tokens += [*self._ids(line + form.gap), *mark]
            reads.append(len(tokens) - 1)
            if number < len(steps):
                tokens += self._ids(form.between)
        return tuple(tokens), tuple(reads)

    def _together(self, question: str, steps: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """One text in one go, as the authors do; characters say which tokens are marks."""
        pieces = self._plain(question, steps) if self.form.turns == "none" else self._chat(question, steps)
        text, starts = pieces[0], []
        for piece in pieces[1:]:
            starts.append(len(text))
            text += self.form.mark + piece
        tokens, spans = self._with_spans(text)
        if self.form.read == "before mark":
            return tokens, tuple(_last(spans, lambda start, end, at=at: end <= at) for at in starts)
        ends = [start + len(self.form.mark) for start in starts]
        return tokens, tuple(_last(spans, lambda start, end, at=at: start < at) for at in ends)

    def _plain(self, question: str, steps: Sequence[str]) -> list[str]:
        """The texts around the marks."""
        form = self.form
        shown = [form.shown(number, step) + form.gap for number, step in enumerate(steps, 1)]
        opening = fill(form.opening, question=question, bos=self.tokenizer.bos_token or "")
        return [opening + shown[0], *(form.between + text for text in shown[1:]), ""]

    def _chat(self, question: str, steps: Sequence[str]) -> list[str]:
        """The texts around the marks, as the chat template renders them."""
        form = self.form
        held = question + "".join(steps)
        stand_in = next((mark for mark in _STAND_INS if mark not in held), None)
        if stand_in is None:
            raise ModelError("the text holds every character that could stand for a step's mark (U+E000 to U+E00F)")
        shown = [form.shown(number, step) + form.gap for number, step in enumerate(steps, 1)]
        opening = fill(form.opening, question=question)
        if form.turns == "steps":
            shown[0] = opening + shown[0]
            turns = [turn for text in shown for turn in (("user", text), ("assistant", stand_in))]
        else:
            turns = [("user", opening), ("assistant", form.between.join(text + stand_in for text in shown))]
        pieces = self._render(turns).split(stand_in)
        if len(pieces) != len(steps) + 1:
            raise ModelError(
                f"the chat template of {self.tokenizer.name_or_path!r} shows {len(pieces) - 1} of {len(steps)} step "
                "marks; the reward cannot be read through it"
            )
        return pieces

    def _whole(self, question: str, steps: Sequence[str]) -> Passage:
        """The text as far as these steps, read at its end."""
        form, solution = self.form, "".join(steps).strip(self.form.strip)
        if form.turns == "none":
            text = fill(form.opening, question=question, solution=solution, bos=self.tokenizer.bos_token or "")
        elif form.turns == "ask":
            text = self._render([("user", fill(form.opening, question=question, solution=solution))], ask=True)
        else:
            text = self._render([("user", fill(form.opening, question=question)), ("assistant", solution)])
        tokens, _ = self._with_spans(text)
        end = len(tokens)
        while end > 1 and tokens[end - 1] == self._skip:
            end -= 1
        return Passage(tokens[:end], (end - 1,))

    def _render(self, turns: Sequence[tuple[str, str]], *, ask: bool = False) -> str:
        system = [("system", self.form.system)] if self.form.system else []
        messages: list[Mapping[str, str]] = [{"role": role, "content": text} for role, text in [*system, *turns]]
        try:
            text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
        except Exception as error:  # a template may raise whatever it likes
            raise ModelError(
                f"the chat template of {self.tokenizer.name_or_path!r} refuses the turns "
                f"{', '.join(message['role'] for message in messages)}: {error}"
            ) from error
        return text

    def _with_spans(self, text: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        # A chat template writes the special tokens itself.
        special = self.form.turns == "none"
        encoded = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        return tuple(encoded["input_ids"]), encoded["offset_mapping"]

    def _ids(self, text: str) -> tuple[int, ...]:
        if text not in self._pieces:
            if len(self._pieces) >= 100_000:
                self._pieces.clear()
            self._pieces[text] = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._pieces[text]


def _last(spans: Sequence[tuple[int, int]], holds: Any) -> int:
    """The last token that shows characters and for which `holds(start, end)`."""
    return max(index for index, (start, end) in enumerate(spans) if end > start and holds(start, end))
