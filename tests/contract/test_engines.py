"""The contract of `engines/base.py`, which every engine keeps: replies, caps, ends, forced tokens, repeatability."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeServer

from isoflop.asking import Markers, Prompt
from isoflop.core import Channel, Origin, Problem, StepEnd, Trajectory
from isoflop.engines.base import Engine, EngineSpec, Generation, GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.naive import Naive
from isoflop.engines.remote import Remote
from isoflop.engines.scripted import Scripted
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.engine import QuietStar
from isoflop.randomness import stream_key
from isoflop.runtime.loading import load_model, load_tokenizer


def thinking(folder: Path) -> Path:
    """The model with untrained thoughts on it."""
    found = folder.parent / "thinking"
    ThoughtModel.put_on(load_model(str(folder))).save(found)
    load_tokenizer(str(folder)).save_pretrained(found)
    return found


@lru_cache
def server(folder: Path, dialect: str) -> FakeServer:
    """A small server over a toy model; it is gone with the process."""
    return FakeServer(folder, dialect)


def remote(dialect: str, **fields: Any) -> Callable[[Path], EngineSpec]:
    """An engine on that server, priced as the random Llama."""
    return lambda folder: Remote(
        server(folder, dialect).url, "toy", tokenizer=str(folder), context_tokens=256, **fields
    )


SPECS: dict[str, Callable[[Path], EngineSpec]] = {
    "local": lambda folder: Local(str(folder), context_tokens=256, memory_gb=0.02),
    "naive": lambda folder: Naive(str(folder), context_tokens=256),
    "quietstar": lambda folder: QuietStar(str(thinking(folder)), context_tokens=256, memory_gb=0.02),
    "quietstar_ahead": lambda folder: QuietStar(str(thinking(folder)), ahead=True, context_tokens=256, memory_gb=0.02),
    "scripted": lambda folder: Scripted(context_tokens=256),
    "remote-vllm": remote("vllm"),
    "remote-llamacpp": remote("llamacpp"),
    "remote-openai": remote("openai"),
    "remote-bare": remote("bare"),
    "remote-chat": remote("vllm", api="chat"),
}
TEXT = "Question: Tom has 3 apples and buys 4 more.\n"


@pytest.fixture(scope="module", params=list(SPECS))
def engine(request: pytest.FixtureRequest, tiny_llama_folder: Path) -> Iterator[Engine]:
    with closing(SPECS[request.param](tiny_llama_folder).open()) as opened:
        yield opened


def root(engine: Engine, search: str = "s", **markers: Any) -> Trajectory:
    prompt = Prompt(TEXT, markers=replace(Markers(), **markers))
    text = engine.render(prompt)
    tokens = engine.encode(text, prompt=True)
    return Trajectory.at(Origin(Problem("p", TEXT, "7"), prompt, text, tokens, 0, search))


def ask(number: int, parent: Trajectory, index: int = 0, tokens: int = 20, **fields: Any) -> GenerationRequest:
    stream = stream_key(0, parent.origin.problem.id, (*parent.path, index))
    return GenerationRequest(number, parent, stream, max_tokens=tokens, **fields)


def run(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Generation]:
    engine.submit(requests)
    done: list[Generation] = []
    for _ in range(2000):
        done += engine.poll()
        if len(done) >= len(requests):
            break
    by_id = {one.id: one for one in done}
    assert len(by_id) == len(done) == len(requests)
    return [by_id[request.id] for request in requests]


def check(engine: Engine, request: GenerationRequest, reply: Generation) -> None:
    """What holds for every reply that is no error."""
    assert reply.error is None
    assert reply.steps
    for number, step in enumerate(reply.steps):
        assert step.forced == (len(request.forced) if number == 0 else 0)
        assert len(step.logprobs) == (step.sampled if engine.capabilities.logprobs else 0)
        assert not any(value > 1e-6 for value in step.logprobs)  # NaN: a server may hide it, and then it is not made up
        assert 0 <= step.trailing <= step.sampled
        last = number == len(reply.steps) - 1
        assert last or step.end is StepEnd.DELIMITER
    sampled = sum(step.sampled for step in reply.steps)
    assert 1 <= sampled <= request.max_tokens
    assert reply.steps[0].tokens[: len(request.forced)] == request.forced
    if reply.steps[-1].end is StepEnd.CAP:
        assert sampled == request.max_tokens or reply.cancelled
    assert (reply.steps[-1].end is StepEnd.CLOSED) == request.closing
    assert reply.spent["policy"].new_tokens == sampled
    assert reply.seconds >= 0


def test_polling_an_idle_engine_gives_nothing(engine: Engine) -> None:
    assert engine.poll() == []


def test_every_request_comes_back_once_with_consistent_steps(engine: Engine) -> None:
    start = root(engine)
    requests = [
        ask(n, start, n, tokens=(1, 7, 40)[n % 3], until=(Until.STEP, Until.END)[n % 2], temperature=n % 4 / 2)
        for n in range(12)
    ]
    for request, reply in zip(requests, run(engine, requests), strict=True):
        check(engine, request, reply)
        if request.until is Until.STEP:
            assert len(reply.steps) == 1
    assert engine.poll() == []
    engine.release("s")


def test_the_same_stream_gives_the_same_tokens_whoever_else_asks(engine: Engine) -> None:
    start = root(engine)
    (first,) = run(engine, [ask(1, start, until=Until.END)])
    others = [ask(n, root(engine, f"o{n}"), n, until=Until.END) for n in range(2, 6)]
    again = run(engine, [ask(1, start, until=Until.END), *others])[0]
    if engine.capabilities.repeatable:
        assert [step.tokens for step in first.steps] == [step.tokens for step in again.steps]
    different = run(engine, [ask(n, start, n, until=Until.END, tokens=40) for n in range(8)])
    assert len({tuple(step.tokens for step in reply.steps) for reply in different}) > 1
    for search in ("s", *(f"o{n}" for n in range(2, 6))):
        engine.release(search)


def test_forced_tokens_come_first_and_steps_go_on_from_any_node(engine: Engine) -> None:
    start = root(engine)
    (reply,) = run(engine, [ask(1, start, tokens=10)])
    node = start.extend(reply.steps[0], 0)
    forced = engine.encode("Wait, 3")
    request = ask(2, node, forced=forced, forced_text="Wait, 3", until=Until.END)
    (more,) = run(engine, [request])
    check(engine, request, more)
    assert more.steps[0].text.removeprefix("\ufffd").startswith("Wait, 3")
    engine.release("s")


def test_closing_completes_whatever_is_written(engine: Engine) -> None:
    start = root(engine)
    prefix = "\nThe answer is"
    requests = [
        ask(n, start, n, tokens=6, forced=engine.encode(prefix), forced_text=prefix, stop=("\n",), closing=True)
        for n in range(4)
    ]
    for request, reply in zip(requests, run(engine, requests), strict=True):
        check(engine, request, reply)
        (step,) = reply.steps
        assert step.end is StepEnd.CLOSED
        assert step.text.startswith(prefix)
        assert "\n" not in step.text[1:]
        assert start.extend(step, 0).finished
    engine.release("s")


def test_cancelled_requests_come_back(engine: Engine) -> None:
    start = root(engine)
    engine.submit([ask(n, start, n, until=Until.END, tokens=40) for n in range(3)])
    engine.cancel([1])
    done: list[Generation] = []
    while len(done) < 3:
        done += engine.poll()
    assert sorted(one.id for one in done) == [0, 1, 2]
    assert [one.cancelled for one in sorted(done, key=lambda one: one.id)] == [False, True, False]
    engine.cancel([0, 1, 2, 99])  # nothing is left to cancel
    assert engine.poll() == []
    engine.release("s")


def test_a_released_search_can_start_again(engine: Engine) -> None:
    start = root(engine)
    (first,) = run(engine, [ask(1, start)])
    engine.release("s")
    engine.release("s")
    (second,) = run(engine, [ask(1, start)])
    if engine.capabilities.repeatable:
        assert [step.tokens for step in first.steps] == [step.tokens for step in second.steps]
        assert first.spent["policy"].flops == second.spent["policy"].flops
    engine.release("s")


def test_prices_add_up_over_a_sequence(engine: Engine) -> None:
    def flops(costs: Any) -> int:
        return sum(cost.flops for cost in costs.values())

    whole = flops(engine.decode_cost(5, 10))
    assert whole == flops(engine.decode_cost(5, 4)) + flops(engine.decode_cost(9, 6))
    assert flops(engine.prefill_cost(0, 12)) > flops(engine.prefill_cost(0, 11)) > 0


def test_think_blocks_have_their_channel(engine: Engine) -> None:
    start = root(engine, think=("<think>", "</think>"))
    opened = engine.encode("<think>")
    request = ask(1, start, tokens=30, until=Until.THINK, forced=opened, forced_text="<think>")
    (reply,) = run(engine, [request])
    check(engine, request, reply)
    if type(engine).__name__ != "ScriptedEngine":  # it does not open a block by force
        assert {step.channel for step in reply.steps[:-1]} <= {Channel.THINK}
    engine.release("s")
