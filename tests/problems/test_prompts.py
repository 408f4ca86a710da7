"""Prompt formats: what a model is shown, rendered through a small chat template, and what markers come with it."""

import re

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.errors import SpecError
from isoflop.problems.examples import EXAMPLES
from isoflop.problems.prompts import Chat, Plain, Published, Reasoning, Steps, history

PROBLEM = Problem("one", "What is {six} times 7?")
TEMPLATE = jinja2.Template(
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}<|assistant|>"
)


def rendered(prompt: Prompt) -> str:
    """What an engine makes of a prompt: messages through the template, text as it is."""
    if not prompt.messages:
        return prompt.text
    return TEMPLATE.render(messages=[{"role": r, "content": c} for r, c in prompt.messages]) + prompt.assistant_prefix


def test_chat_renders_system_examples_and_question_in_turn() -> None:
    text = rendered(Chat(system="Be brief.", shots=1).build(PROBLEM))
    example = f"<|user|>{EXAMPLES[0].question}<|end|><|assistant|>{EXAMPLES[0].solution}<|end|>"
    assert text == f"<|system|>Be brief.<|end|>{example}<|user|>What is {{six}} times 7?<|end|><|assistant|>"


def test_chat_without_a_system_role_puts_the_system_text_before_the_first_turn() -> None:
    text = rendered(Chat(system="Be brief.", shots=0, system_role=False).build(PROBLEM))
    assert text == "<|user|>Be brief.\n\nWhat is {six} times 7?<|end|><|assistant|>"
    assert Chat(system="", shots=0).build(PROBLEM).messages == (("user", PROBLEM.question),)


def test_steps_shows_examples_as_text_and_stops_at_the_next_question() -> None:
    prompt = Steps(shots=2).build(PROBLEM)
    assert prompt.text.count("Q: ") == 3
    assert prompt.text.endswith("The answer is 160.\n\nQ: What is {six} times 7?\nA: Let's think step by step.")
    assert prompt.markers.stop == ("\nQ:",)
    assert Steps().build(PROBLEM).text == "Q: What is {six} times 7?\nA: Let's think step by step."


def test_the_published_prompt_is_the_studys() -> None:
    prompt = Published().build(PROBLEM)
    assert prompt.text == "Q: What is {six} times 7?\nA: Let's think step by step."
    assert prompt.markers.answer_prefix == "\nTherefore, the answer (arabic numerals) is"


def test_plain_replaces_the_question_alone() -> None:
    assert Plain(template="{{x}} {question} {y}").build(PROBLEM).text == "{{x}} What is {six} times 7? {y}"
    with pytest.raises(SpecError, match=r"template='no' must contain \{question\}"):
        Plain(template="no")


def test_reasoning_starts_inside_the_block_that_its_prefix_opens() -> None:
    for prefix, thinking in (("", False), ("<think>\n", True)):
        prompt = Reasoning(assistant_prefix=prefix).build(PROBLEM)
        root = Trajectory.at(Origin(PROBLEM, prompt, rendered(prompt), (), 0, "a"))
        assert root.thinking is thinking
        assert not root.extend(Step("so 42.</think>\n\n"), 0).thinking
    with pytest.raises(SpecError, match="must hold two different marks"):
        Reasoning(think=("<think>",))


def test_every_marker_can_be_spelled_and_an_empty_one_is_refused() -> None:
    chat = specs.parse("prompt", "chat(step_end=['\\n\\n', ';'], stop=['END'], answer_prefix='So ', answer_stop=['.'])")
    markers = chat.build(PROBLEM).markers
    assert (markers.step_end, markers.stop, markers.answer_prefix, markers.answer_stop) == (
        ("\n\n", ";"),
        ("END",),
        "So ",
        (".",),
    )
    assert specs.parse("prompt", str(chat)) == chat
    with pytest.raises(SpecError, match="an empty string ends nothing"):
        specs.parse("prompt", "chat(stop=[''])")
    with pytest.raises(SpecError, match=r"shots=9 must be between 0 and 4"):
        specs.parse("prompt", "steps(9)")


@given(question=st.text(min_size=1))
def test_every_format_shows_the_question_untouched_and_last(question: str) -> None:
    for name in specs.names("prompt"):
        prompt = specs.parse("prompt", f"{name}()").build(Problem("p", question))
        shown = prompt.messages[-1][1] if prompt.messages else prompt.text
        assert question in shown
        assert prompt.markers.step_end
        assert prompt.markers.answer_prefix


def test_the_examples_are_right_and_in_the_declared_form() -> None:
    for example in EXAMPLES:
        *steps, last = example.solution.split("\n")
        assert all(steps)
        results = []
        for step in steps:
            sums = re.findall(r"(\d[\d .*/+-]*) = ([\d.]+)", step)
            assert len(sums) == 1, step
            expression, result = sums[0]
            assert eval(expression) == float(result)
            results.append(result)
        assert last == f"The answer is {results[-1]}."


def test_history_drops_thinking_from_the_assistants_turns_alone() -> None:
    turns = [
        ("user", "What does <think>a</think> mean?"),
        ("assistant", "<think>\nhm</think>\n\nA mark."),
        ("assistant", "hm</think>Opened by the template."),
        ("assistant", "Visible.<think>never closed"),
        ("assistant", "No thoughts."),
    ]
    assert [text for _, text in history(turns)] == [
        "What does <think>a</think> mean?",
        "A mark.",
        "Opened by the template.",
        "Visible.",
        "No thoughts.",
    ]
    assert history([("assistant", "[[x]]y")], think=("[[", "]]")) == (("assistant", "y"),)


@given(thought=st.text(), answer=st.text())
def test_history_never_shows_a_mark(thought: str, answer: str) -> None:
    ((_, shown),) = history([("assistant", f"<think>{thought}</think>{answer}")])
    assert "<think>" not in shown
    assert "</think>" not in shown
