"""How a reward model wants to be asked: data, not a class per checkpoint.

A `Format` says how a question and the steps of its solution become one text and where each step is read; a `ReadOut`
how the logits there become a number in [0, 1]. It knows no tokenizer (`encode.py`) and no weights (`models.py`). A new
process reward model is a few lines:

    MINE = Format(opening="{question}\\n", label="Step {number}: ", mark="<score>", between="\\n")
    MINE_READ = ReadOut("tokens", words=("good", "bad"))

Rules for all formats. Every shown step has a mark of its own, an empty step too. A step is read at its own mark, which
is known by its place: a mark inside the text of a step is text, and a mark that the tokenizer splits is read at its
last token. Text behind the last position read is never computed: the models are causal, it changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Format:
    """A question and its steps as one text.

    `opening` holds {question} (and {bos}); `label`, with {number}, stands before a step that does not bring it along;
    then come the step, stripped of the characters in `strip` (None: all white space), `gap` and `mark`; `between` parts
    a mark from the next step. `inner_marks`: the authors cut at every mark, so that lines inside a step are parted by
    it as well.

    `turns`: plain text, or a chat in which the assistant says all steps ("answer"), in which the user says each step
    and the assistant its mark ("steps"), or in which the user asks about it all ("ask"; `opening` holds {solution}).
    `apart`: opening, steps and marks are tokenized each by itself. `read`: at the mark's last token, at the last token
    before the mark (which predicts it), or at the very end, where each step's prefix is a text of its own.
    """

    opening: str
    label: str = ""
    gap: str = ""
    mark: str = ""
    between: str = ""
    strip: str | None = None
    inner_marks: bool = False
    turns: Literal["none", "answer", "steps", "ask"] = "none"
    system: str = ""
    apart: bool = False
    read: Literal["mark", "before mark", "end"] = "mark"

    def shown(self, number: int, step: str) -> str:
        """A step as the text shows it, label and all, without what follows it."""
        text = step.strip(self.strip)
        own = re.escape(self.label.strip()).replace(r"\{number\}", r"\d+")
        return text if self.label and re.match(own, text) else fill(self.label, number=str(number)) + text


@dataclass(frozen=True, slots=True)
class ReadOut:
    """What is read at a position, and how it becomes a reward.

    "tokens": the LM head's logits of two words, softmax, the first one's share (`which` token of a word counts);
    "classes": a classifier's logits, softmax, the share of class `positive` (a single class is a value);
    "value": one number, sigmoid.
    """

    kind: Literal["tokens", "classes", "value"]
    words: tuple[str, ...] = ()
    which: Literal["first", "last"] = "last"
    positive: int = 1


def fill(template: str, **values: str) -> str:
    """`template` with {name} replaced in one pass, so that braces in the values are left alone."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


PLUS_MINUS = ReadOut("tokens", words=("+", "-"))

# peiyi9979/math-shepherd-mistral-7b-prm: the tag is read where it stands.
MATH_SHEPHERD = Format(opening="{question} ", label="Step {number}: ", gap=" ", mark="ки", between="\n")

# RLHFlow/Llama3.1-8B-PRM-Deepseek-Data and -Mistral-Data: the assistant's "+" is read where it is predicted.
RLHFLOW = Format(opening="{question} ", mark="+", turns="steps", read="before mark")

# Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B and -7B: every line is followed by a newline of its own.
SKYWORK = Format(opening="{bos}{question}\n", mark="\n", strip="\n", inner_marks=True, apart=True)

# Qwen/Qwen2.5-Math-PRM-7B, -72B and Qwen/Qwen2.5-Math-7B-PRM800K.
QWEN = Format(
    opening="{question}",
    mark="<extra_0>",
    turns="answer",
    system="Please reason step by step, and put your final answer within \\boxed{}.",
)

# What TRL's PRMTrainer makes of a row: prompt and completions tokenized apart, a separator behind each completion.
TRL = Format(opening="{bos}{question}", mark="\n", apart=True)

# Sequence classifiers: the whole conversation, read at its last token.
CHAT = Format(opening="{question}", turns="answer", read="end")
