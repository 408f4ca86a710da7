"""Cutting tokens into steps: marks over token borders, split characters, blank steps, think blocks, stops, caps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.asking import Markers, Prompt
from isoflop.core import Channel, Origin, Problem, Step, StepEnd, Trajectory
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.segment import Segmenter, completing, look_back, marks_of, tail_bytes

EOS = 0
PIECES = [
    b"",
    b"x",
    b" = 3",
    b"\n",
    b"\n\n",
    b".\n",
    b"Q:",
    b"Q",
    b":",
    b"ue",
    b"<think>",
    b"</think>",
    b"</th",
    b"ink>",
]
PIECES += ["🙂".encode()[:2], "🙂".encode()[2:], "é".encode(), b" ", b"1\n2", b"\xff", b"::", b"xQ"]
IDS = {piece: token for token, piece in enumerate(PIECES)}


def root(**markers: object) -> Trajectory:
    """A root whose prompt has these markers."""
    prompt = Prompt("p", markers=replace(Markers(), **markers))  # type: ignore[arg-type]
    return Trajectory.at(Origin(Problem("1", "q"), prompt, "p", (7,), 0, "s"))


def request(parent: Trajectory, until: Until = Until.END, **fields: object) -> GenerationRequest:
    return GenerationRequest(1, parent, 0, max_tokens=99, until=until, **fields)  # type: ignore[arg-type]


def cut(asked: GenerationRequest, tokens: Sequence[int]) -> tuple[Step, ...]:
    """Feed tokens one by one until the segmenter is done, or out of tokens."""
    segmenter = Segmenter(
        asked,
        [PIECES[token] for token in asked.forced],
        tail_bytes(asked.parent, PIECES, look_back(asked)),
        frozenset({EOS}),
    )
    for token in tokens:
        if segmenter.push([token], [-float(token)], [PIECES[token]]):
            break
    segmenter.cut()
    return tuple(segmenter.steps)


def ids(*pieces: bytes) -> list[int]:
    return [IDS[piece] for piece in pieces]


def texts(steps: Sequence[Step]) -> list[tuple[str, StepEnd]]:
    return [(step.text, step.end) for step in steps]


def test_steps_end_after_the_token_that_completes_the_delimiter() -> None:
    steps = cut(request(root()), [*ids(b"x", b" = 3", b".\n", b"x", b"1\n2", b"x"), EOS])
    assert texts(steps) == [
        ("x = 3.\n", StepEnd.DELIMITER),
        ("x1\n2", StepEnd.DELIMITER),
        ("x", StepEnd.END),
    ]
    assert steps[-1].tokens == (IDS[b"x"], EOS)
    assert steps[-1].trailing == 1
    assert steps[0].logprobs == (-1.0, -2.0, -5.0)


def test_a_delimiter_may_be_split_over_tokens() -> None:
    asked = request(root(step_end=("\n\n",)))
    assert texts(cut(asked, ids(b"x", b"\n", b"x", b"\n", b"\n", b"x"))) == [
        ("x\nx\n\n", StepEnd.DELIMITER),
        ("x", StepEnd.CAP),
    ]


def test_blank_steps_go_on() -> None:
    steps = cut(request(root()), ids(b"\n", b"\n", b" ", b"\n\n", b"x", b"\n", b"\n"))
    assert texts(steps) == [("\n\n \n\nx\n", StepEnd.DELIMITER), ("\n", StepEnd.CAP)]


def test_a_stop_string_ends_the_solution_and_is_left_out_of_the_text() -> None:
    steps = cut(request(root(stop=("Q:",))), ids(b"x", b"xQ", b":", b"x"))
    assert texts(steps) == [("xx", StepEnd.END)]
    assert steps[0].tokens == tuple(ids(b"x", b"xQ", b":"))
    assert steps[0].trailing == 1  # the token "xQ" has text of the step too


def test_a_stop_string_may_begin_in_an_earlier_step() -> None:
    steps = cut(request(root(stop=("\nQ:",))), ids(b"x", b"\n", b"Q", b":"))
    assert texts(steps) == [("x\n", StepEnd.DELIMITER), ("", StepEnd.END)]
    first = root(stop=("\nQ:",)).extend(steps[0], 0)
    assert texts(cut(request(first), ids(b"Q:"))) == [("", StepEnd.END)]


def test_stop_wins_over_the_step_end_in_the_same_token() -> None:
    assert texts(cut(request(root(stop=("\n\n",))), ids(b"x", b"\n\n"))) == [("x", StepEnd.END)]


def test_overridden_stop_strings_and_closing() -> None:
    asked = request(root(stop=("x",)), stop=("\n",), closing=True, forced=(IDS[b"Q:"],), forced_text="Q:")
    (step,) = cut(asked, ids(b" ", b"x", b"\n"))
    assert (step.text, step.end, step.forced, step.trailing) == ("Q: x", StepEnd.CLOSED, 1, 1)
    assert step.logprobs == (-17.0, -1.0, -3.0)
    (capped,) = cut(asked, ids(b"x"))
    assert capped.end is StepEnd.CLOSED
    (ended,) = cut(asked, [IDS[b"x"], EOS])
    assert (ended.text, ended.end, ended.trailing) == ("Q:x", StepEnd.CLOSED, 1)


def test_marks_in_forced_text_are_ignored() -> None:
    asked = request(root(stop=("Q:",)), forced=tuple(ids(b"\n", b"Q:", b"x")), forced_text="\nQ:x")
    assert texts(cut(asked, ids(b"x", b"\n", b"x"))) == [("\nQ:xx\n", StepEnd.DELIMITER), ("x", StepEnd.CAP)]


def test_until_step_takes_one_step() -> None:
    assert texts(cut(request(root(), Until.STEP), ids(b"x", b"\n", b"x", b"\n"))) == [("x\n", StepEnd.DELIMITER)]


def test_split_characters_are_whole_in_the_text_and_at_a_cap_wait_for_the_next_step() -> None:
    first_half, second_half = ids("🙂".encode()[:2], "🙂".encode()[2:])
    assert texts(cut(request(root()), [first_half, second_half, IDS[b"\n"]])) == [("🙂\n", StepEnd.DELIMITER)]
    (half,) = cut(request(root()), [IDS[b"x"], first_half])
    assert (half.text, half.end) == ("x", StepEnd.CAP)
    (rest,) = cut(request(root().extend(half, 0)), [second_half, EOS])
    assert rest.text == "🙂"
    (broken,) = cut(request(root()), [first_half, EOS])
    assert broken.text == "\ufffd"


def test_think_blocks() -> None:
    inside = root(think=("<think>", "</think>"))
    tokens = ids(b"<think>", b"x", b"\n", b"ue", b"</th", b"ink>", b"\n\n", b"x", b"\n", b"x")
    steps = cut(request(inside), tokens)
    assert [(step.text, step.channel) for step in steps] == [
        ("<think>x\n", Channel.THINK),
        ("ue</think>", Channel.THINK),
        ("\n\nx\n", Channel.VISIBLE),
        ("x", Channel.VISIBLE),
    ]
    node = inside
    thinking = []
    for step in steps:
        node = node.extend(step, 0)
        thinking.append(node.thinking)
    assert thinking == [True, False, False, False]
    assert texts(cut(request(inside, Until.THINK), tokens))[-1] == ("ue</think>", StepEnd.DELIMITER)


def test_a_think_block_that_was_open_or_is_closed_by_force() -> None:
    opened = root(think=("<think>", "</think>")).extend(Step("<think>", tuple(ids(b"<think>"))), 0)
    assert opened.thinking
    (step,) = cut(request(opened), ids(b"x"))
    assert step.channel is Channel.THINK
    (forced,) = cut(request(opened, forced=tuple(ids(b"</think>")), forced_text="</think>"), ids(b"x"))
    assert forced.channel is Channel.VISIBLE


MARKS = st.lists(st.sampled_from(["\n", "\n\n", "Q:", "x = 3", ":", "::", "e"]), max_size=2).map(tuple)


@given(tokens=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=30), step_end=MARKS, stop=MARKS)
def test_growing_step_by_step_cuts_as_a_whole_sample_does(
    tokens: list[int], step_end: tuple[str, ...], stop: tuple[str, ...]
) -> None:
    start = root(step_end=step_end, stop=stop, think=("<think>", "</think>"))
    whole = cut(request(start), tokens)
    node, grown, rest = start, [], list(tokens)
    while rest and not node.finished:
        (step,) = cut(request(node, Until.STEP), rest)
        node, rest = node.extend(step, 0), rest[len(step.tokens) :]
        grown.append(step)
    assert whole == tuple(grown)
    # No token is lost, and the text is that of the tokens.
    taken = tuple(token for step in whole for token in step.tokens)
    assert taken == tuple(tokens[: len(taken)])
    data = b"".join(PIECES[token] for token in taken)
    text = "".join(step.text for step in whole)
    if whole[-1].end is StepEnd.END:
        assert data.decode(errors="replace").startswith(text) or whole[-1].trailing
    else:
        assert data.decode(errors="replace").rstrip("\ufffd") == text.rstrip("\ufffd")


@given(tokens=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=30), step_end=MARKS, stop=MARKS)
def test_tokens_that_complete_no_mark_need_not_be_looked_at(
    tokens: list[int], step_end: tuple[str, ...], stop: tuple[str, ...]
) -> None:
    asked = request(root(step_end=step_end, stop=stop, think=("<think>", "</think>")))
    look = completing(PIECES, marks_of(asked), frozenset({EOS}))
    segmenter = Segmenter(asked, [], b"", frozenset({EOS}))
    held: list[int] = []
    for token in tokens:
        held.append(token)
        if look[token] or token == tokens[-1]:
            done = segmenter.push(held, [-float(t) for t in held], [PIECES[t] for t in held])
            held = []
            if done:
                break
    segmenter.cut()
    assert tuple(segmenter.steps) == cut(asked, tokens)


@pytest.mark.parametrize("mark", ["\n", "Q:", "</think>", "🙂"])
def test_completing_says_where_a_mark_can_end(mark: str) -> None:
    found = completing(PIECES, [mark.encode()], frozenset())
    for token, piece in enumerate(PIECES):
        inside = mark.encode() in piece
        begun_before = any(piece.startswith(mark.encode()[-size:]) for size in range(1, len(mark.encode())))
        assert found[token] == (inside or begun_before)
