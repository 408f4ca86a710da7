"""The remote engine against a real vLLM and a real llama.cpp, on the CPU (`make test-engines`)."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from real_servers import LlamaServer, setting

from isoflop import api
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.remote import Remote
from isoflop.randomness import stream_key

pytestmark = pytest.mark.engines
AWKWARD = "Repeat exactly, line by line:\n🫠🫠 ꙮ\n𝕏𝕏 √2\n  indented, then two blank lines\n\n\nend"


@pytest.fixture(scope="module")
def model():
    return setting("ENGINES_MODEL", "the folder of a small instruction model")


@pytest.fixture(scope="module")
def llama(model):
    with LlamaServer(setting("ENGINES_GGUF", "the same model as a GGUF file")) as url:
        import json
        import urllib.request

        with urllib.request.urlopen(f"{url}/v1/models") as reply:
            name = json.load(reply)["data"][0]["id"]
        yield Remote(url, name, tokenizer=model)


@pytest.fixture(scope="module", params=["policy", "llama"], ids=["vllm", "llama"])
def spec(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def engine(spec):
    with closing(spec.open()) as opened:
        yield opened


def root(engine, question, prefix=""):
    prompt = Prompt(messages=(("user", question),), assistant_prefix=prefix)
    text = engine.render(prompt)
    return Trajectory.at(Origin(Problem("p", question), prompt, text, engine.encode(text, prompt=True), 0, "s"))


def ask(number, parent, index=0, tokens=24, **fields):
    return GenerationRequest(number, parent, stream_key(0, "p", (*parent.path, index)), max_tokens=tokens, **fields)


def collect(engine, count, seconds=500):
    done, end = [], time.monotonic() + seconds
    while len(done) < count and time.monotonic() < end:
        done += engine.poll()
    return sorted(done, key=lambda one: one.id)


def test_what_it_can(engine):
    can = engine.capabilities
    assert (can.token_ids, can.continues, can.logprobs, can.repeatable) == (True, True, True, False)


def test_a_greedy_solution_is_the_same_step_by_step_and_at_once(engine):
    """Over characters that several tokens make, and over blank lines: nothing is tokenized otherwise on the way."""
    start = root(engine, AWKWARD, prefix="🫠")
    engine.submit([ask(1, start, tokens=30, temperature=0.0, until=Until.END)])
    [whole] = collect(engine, 1)
    assert whole.error is None
    node = start
    while node.num_sampled < 30 and not node.finished:
        engine.submit([ask(2, node, tokens=30 - node.num_sampled, temperature=0.0)])
        [reply] = collect(engine, 1)
        assert reply.error is None
        node = node.extend(reply.steps[0], 0)
    assert [step.tokens for step in whole.steps] == [step.tokens for step in node.steps]
    assert [step.text for step in whole.steps] == [step.text for step in node.steps]


def test_seeds_are_honoured(engine):
    start = root(engine, "Name an animal and a colour.")
    texts = []
    for index in (0, 1, 0):
        engine.submit([ask(1, start, index, tokens=8, until=Until.END)])
        texts.append([step.text for step in collect(engine, 1)[0].steps])
    assert texts[0] == texts[2] != texts[1]


def test_log_probabilities_are_the_models_own(engine, model):
    """At temperature 1 over the whole vocabulary, whatever the sampling: as our own engine computes them."""
    start = root(engine, "How much is 17 + 25?")
    engine.submit([ask(1, start, tokens=10, temperature=0.0, top_p=0.5, until=Until.END)])
    [reply] = collect(engine, 1)
    with closing(Local(model, context_tokens=256, memory_gb=0.1, threads=1).open()) as local:
        local.submit([ask(1, root(local, "How much is 17 + 25?"), tokens=10, temperature=0.0, until=Until.END)])
        [own] = collect(local, 1)
    tolerance = 0.15 if engine.dialect.name == "vllm" else 1.0  # bfloat16; four bits
    pairs = list(zip(reply.steps[0].tokens, own.steps[0].tokens, strict=False))
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
    assert same >= 3
    assert reply.steps[0].logprobs[:same] == pytest.approx(own.steps[0].logprobs[:same], abs=tolerance)


def test_the_servers_prefix_cache_is_on_the_books(engine):
    start = root(engine, "Here is a long text to read. " * 40 + "How many sentences are there?")
    for number in range(2):
        engine.submit([ask(number, start, number, tokens=2)])
        [reply] = collect(engine, 1)
    cost = reply.spent["policy"]
    assert cost.cached_tokens >= 128
    assert cost.cached_tokens + cost.prompt_tokens == start.length


def test_rebase_solves_over_it(engine):
    attempt = api.solve(
        "Tom has 3 apples and buys 4 more. How many apples has he?",
        model=engine,
        strategy="rebase(width=2)",
        sampling="sampling(max_tokens=48)",
    )
    assert attempt.stop == "finished"
    assert attempt.answer is not None
    assert sum(cost.flops for cost in attempt.spent.values()) > 0


def test_a_chat_goes_on_from_what_was_said(spec):
    from dataclasses import replace

    with closing(replace(spec, api="chat").open()) as engine:
        assert engine.capabilities.continues
        start = root(engine, "Say: one two three four", prefix="one two")
        engine.submit([ask(1, start, tokens=4, temperature=0.0, until=Until.END)])
        [reply] = collect(engine, 1)
    assert reply.error is None
    assert "three" in reply.steps[0].text
