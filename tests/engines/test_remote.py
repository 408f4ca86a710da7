"""The remote engine against a small real server: nothing drifts, nothing is charged twice, nothing is made up."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import replace

import pytest
from fake_openai import SPLIT, FakeServer

from isoflop import specs
from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, StepEnd, Trajectory
from isoflop.cost.spelled_shape import shape_of
from isoflop.engines.base import GenerationRequest, Until
from isoflop.engines.remote import Remote
from isoflop.errors import EngineError, ModelError, SpecError
from isoflop.randomness import stream_key

TEXT = "Question: Tom has 3 apples and buys 4 more.\n"
DIALECTS = ["vllm", "llamacpp", "openai", "bare"]


@pytest.fixture(params=DIALECTS)
def server(request, tiny_llama_folder):
    with FakeServer(tiny_llama_folder, request.param) as made:
        yield made


@pytest.fixture
def vllm(tiny_llama_folder):
    with FakeServer(tiny_llama_folder) as made:
        yield made


def opened(server, folder, **fields):
    return closing(Remote(server.url, "toy", tokenizer=str(folder), **fields).open())


def root(engine, text=TEXT, **markers):
    prompt = Prompt(text, markers=replace(Markers(), **markers))
    shown = engine.render(prompt)
    return Trajectory.at(Origin(Problem("p", text, "7"), prompt, shown, engine.encode(shown, prompt=True), 0, "s"))


def ask(number, parent, index=0, tokens=30, **fields):
    stream = stream_key(0, "p", (*parent.path, index))
    return GenerationRequest(number, parent, stream, max_tokens=tokens, **fields)


def collect(engine, count, seconds=120.0):
    done, end = [], time.monotonic() + seconds
    while len(done) < count and time.monotonic() < end:
        done += engine.poll()
    return sorted(done, key=lambda one: one.id)


def grow(engine, node, steps, **fields):
    """Step by step."""
    spent = []
    for number in range(steps):
        engine.submit([ask(number, node, **fields)])
        [reply] = collect(engine, 1)
        assert reply.error is None
        spent.append(reply.spent["policy"])
        for step in reply.steps:
            node = node.extend(step, 0)
        if node.finished:
            break
    return node, spent


def test_what_was_found_out_about_each_server(tiny_llama_folder):
    found = {}
    for dialect in DIALECTS:
        with FakeServer(tiny_llama_folder, dialect) as server, opened(server, tiny_llama_folder) as engine:
            can = engine.capabilities
            found[dialect] = (can.token_ids, can.logprobs, engine.dialect.whole, can.continues, can.repeatable)
            assert engine.context_tokens == 256
    assert found == {
        "vllm": (True, True, True, True, False),
        "llamacpp": (True, True, False, True, False),
        "openai": (False, True, False, True, False),
        "bare": (False, False, False, True, False),
    }


def test_every_call_goes_on_from_exactly_what_was_made(server, tiny_llama_folder):
    """Tokens in are tokens out, at every border that solutions of a toy that splits characters have."""
    with opened(server, tiny_llama_folder) as engine:
        steps_seen = 0
        for index in range(8):
            engine.submit([ask(0, root(engine), index, tokens=60, until=Until.END)])
            [reply] = collect(engine, 1)
            node = root(engine)
            for step in reply.steps:
                server.forget()
                engine.submit([ask(0, node, index)])
                collect(engine, 1)
                asked = server.bodies[0]["prompt"]
                exact = list(node.tokens) if engine.capabilities.token_ids else node.origin.prompt_text + node.text
                assert asked == exact
                node, steps_seen = node.extend(step, index), steps_seen + 1
        assert steps_seen > 8


def test_a_cap_inside_a_character_loses_none_of_its_bytes(tiny_llama_folder):
    for dialect in ("vllm", "llamacpp"):
        with FakeServer(tiny_llama_folder, dialect) as server, opened(server, tiny_llama_folder) as engine:
            first = server.toy.split[0]
            start = root(engine, TEXT + "x")
            forced = (*engine.encode("1"), first)  # the character has begun, and a cap of one token splits it again
            request = ask(1, start, tokens=1, forced=forced, forced_text="1")
            engine.submit([request])
            [reply] = collect(engine, 1)
            node = start.extend(reply.steps[0], 0)
            assert reply.steps[0].end is StepEnd.CAP
            node, _ = grow(engine, node, 1, tokens=1)
            assert SPLIT in node.text
            assert server.bodies[-1]["prompt"] == list(start.tokens + forced + (server.toy.split[1],))


def test_the_books_agree_with_the_servers_own(server, tiny_llama_folder):
    shape = shape_of(str(tiny_llama_folder))
    with opened(server, tiny_llama_folder) as engine:
        server.forget()
        node, spent = grow(engine, root(engine), 6)
        start = root(engine)
        engine.submit([ask(n, start, n, until=Until.END) for n in range(5)])
        spent += [reply.spent["policy"] for reply in collect(engine, 5)]
    told_new, made = sum(cost.new_tokens for cost in spent), server.counted["new"]
    # A stream that is closed at a step's end has been delivered in part: what comes behind is not ours to charge.
    assert told_new == made if engine.dialect.whole else told_new <= made
    if server.dialect in ("vllm", "llamacpp"):  # the others tell their cache in a stream's last event alone
        assert sum(cost.cached_tokens for cost in spent) == server.counted["cached"] > 0
        assert sum(cost.prompt_tokens for cost in spent) == server.counted["prompt"]
    assert sum(cost.flops for cost in spent) > told_new * shape.parameters
    assert all(cost.seconds > 0 for cost in spent)
    assert node.depth


def test_seeds_are_honoured_and_differ_between_streams(server, tiny_llama_folder):
    with opened(server, tiny_llama_folder) as engine:
        start = root(engine)
        engine.submit([ask(n, start, n % 3, until=Until.END) for n in range(6)])
        texts = [[step.text for step in reply.steps] for reply in collect(engine, 6)]
    assert texts[:3] == texts[3:]
    assert len({str(text) for text in texts[:3]}) == 3


def test_a_chat_goes_on_where_the_server_does(tiny_llama_folder):
    with FakeServer(tiny_llama_folder) as server, opened(server, tiny_llama_folder, api="chat") as engine:
        assert engine.capabilities.continues
        for number in range(9):
            start = root(engine, f"Question {number}: how much is it?")
            server.forget()
            node, _ = grow(engine, start, 2)
            if node.depth == 2:
                break
        turns = server.bodies[-1]["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"]
        assert server.bodies[-1]["continue_final_message"]
        assert node.text.startswith(turns[1]["content"].rstrip("\n"))
        assert turns[1]["content"]


def test_a_chat_that_cannot_go_on_answers_whole_and_closes_without_an_answer(tiny_llama_folder):
    with (
        FakeServer(tiny_llama_folder, "openai") as server,  # refuses continue_final_message
        opened(server, tiny_llama_folder, api="chat") as engine,
    ):
        assert not engine.capabilities.continues
        start = root(engine)
        engine.submit([ask(1, start, until=Until.END)])
        [reply] = collect(engine, 1)
        assert reply.error is None
        prefix = engine.encode("The answer is")
        engine.submit([ask(2, start, forced=prefix, forced_text="The answer is", closing=True)])
        [closed] = collect(engine, 1)
        assert [step.end for step in closed.steps] == [StepEnd.CLOSED]
        assert closed.steps[0].text == ""
        assert not closed.spent


def test_cancelling_closes_the_connection_and_charges_what_had_come(tiny_llama_folder):
    with (
        FakeServer(tiny_llama_folder, "llamacpp", seconds_per_token=0.02) as server,
        opened(server, tiny_llama_folder) as engine,
    ):
        before = server.counted["new"]
        markers = {"step_end": ()}
        engine.submit([ask(n, root(engine, **markers), n, tokens=200, until=Until.END) for n in range(4)])
        while server.counted["new"] < before + 12:
            time.sleep(0.01)
        engine.cancel([0, 1, 2, 3])
        replies = collect(engine, 4)
        assert all(reply.cancelled and reply.error is None for reply in replies)
        made = [sum(step.sampled for step in reply.steps) for reply in replies]
        assert [reply.spent["policy"].new_tokens if reply.spent else 0 for reply in replies] == made
        assert 0 < sum(made) <= server.counted["new"] - before


@pytest.mark.parametrize("most", [3, 11])  # in one pool of connections, and in two
def test_no_more_than_max_live_are_out_at_once(tiny_llama_folder, most):
    with (
        FakeServer(tiny_llama_folder, seconds_per_token=0.01) as server,
        opened(server, tiny_llama_folder, max_live=most) as engine,
    ):
        engine.submit([ask(n, root(engine), n, until=Until.END) for n in range(4 * most)])
        assert len(collect(engine, 4 * most)) == 4 * most
        assert most / 2 < server.most_live <= most


def test_sampling_is_ours_and_not_the_servers_default(vllm, tiny_llama_folder):
    with opened(vllm, tiny_llama_folder) as engine:
        engine.submit([ask(1, root(engine), temperature=0.7, top_p=0.9, top_k=5)])
        collect(engine, 1)
        body = vllm.bodies[-1]
        assert {key: body[key] for key in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")} == {
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 5,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
    with FakeServer(tiny_llama_folder, "openai") as server, opened(server, tiny_llama_folder) as engine:
        engine.submit([ask(1, root(engine), top_k=5)])
        assert "takes no top_k" in collect(engine, 1)[0].error


def test_another_model_name_is_refused_with_those_there_are(vllm, tiny_llama_folder):
    with pytest.raises(ModelError, match=r"does not serve model='toi'; did you mean 'toy'\?"):
        Remote(vllm.url, "toi", tokenizer=str(tiny_llama_folder)).open()


def test_another_tokenizer_is_refused(tiny_llama_folder, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    other = Tokenizer(models.WordLevel({"<eos>": 0, "x": 1}, unk_token="<eos>"))
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=other, eos_token="<eos>").save_pretrained(tmp_path)
    shutil.copy(tiny_llama_folder / "config.json", tmp_path)
    with FakeServer(tiny_llama_folder, "bare") as server:
        remote = Remote(server.url, "toy", tokenizer=str(tmp_path), shape=str(tiny_llama_folder))
        with pytest.raises(ModelError, match=r"the server read \d+ tokens where our tokenizer finds \d+"):
            remote.open()


def test_a_server_that_is_not_there_is_named(tiny_llama_folder):
    remote = Remote("http://127.0.0.1:9", "toy", tokenizer=str(tiny_llama_folder), patience_seconds=0.1)
    with pytest.raises(EngineError, match=r"http://127.0.0.1:9/v1/models cannot be reached .*; start the server"):
        remote.open()


def test_a_context_that_is_full_is_this_requests_error(vllm, tiny_llama_folder):
    with opened(vllm, tiny_llama_folder) as engine:
        engine.submit([ask(1, root(engine, "word " * 400)), ask(2, root(engine))])
        full, fine = collect(engine, 2)
    assert "leaves no room in the server's context of 256" in full.error
    assert fine.error is None


def test_the_address_may_come_from_the_environment(vllm, tiny_llama_folder, monkeypatch):
    remote = Remote("$SOME_SERVER", "toy", tokenizer=str(tiny_llama_folder))
    with pytest.raises(EngineError, match="names an environment variable that is not set"):
        remote.open()
    monkeypatch.setenv("SOME_SERVER", vllm.url + "/v1")
    with closing(remote.open()) as engine:
        assert engine.dialect.name == "vllm"


@pytest.mark.parametrize(
    ("spelled", "law"),
    [
        ("remote('ftp://x', 'm')", "is no address of a server"),
        ("remote('http://me:secret@host', 'm')", "carries a password"),
        ("remote('http://host?key=secret', 'm')", "carries a password"),
        ("remote('http://host', 'm', key_variable='sk-123')", "is no name of an environment variable"),
        ("remote('http://host', '')", "the name under which"),
        ("remote('http://host', 'm', max_live=0)", "at least 1 call"),
        ("remote('http://host', 'm', timeout_seconds=0)", "more than 0"),
    ],
)
def test_wrong_specs_are_refused_without_showing_secrets(spelled, law):
    with pytest.raises(SpecError, match=law) as caught:
        specs.parse("engine", spelled)
    assert "secret" not in str(caught.value)
    assert "sk-123" not in str(caught.value)


def test_a_shape_may_be_spelled_in_numbers(tiny_llama_folder):
    numbers = (
        "llama(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, "
        "num_key_value_heads=2, head_dim=8, vocab_size=384, max_position_embeddings=256, dtype='float32')"
    )
    assert shape_of(numbers) == shape_of(str(tiny_llama_folder))
    with pytest.raises(ModelError, match="is not of the form model_type"):
        shape_of("llama(hidden_size=)")
    with pytest.raises(ModelError, match="has no cost formula"):
        shape_of("gpt99(hidden_size=3)")
