"""The local engine on a random Llama: what it writes, what it never computes twice, and how it lives with few slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, StepEnd, Trajectory
from isoflop.cost.ledger import ZERO, Cost
from isoflop.engines.base import Engine, Generation, GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.local_engine import LocalEngine
from isoflop.engines.naive import Naive, NaiveEngine
from isoflop.errors import ModelError, SpecError
from isoflop.randomness import stream_key

CONTEXT = 128
BYTES_PER_TOKEN = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, head size, float32
QUESTION = "Question: Tom has 3 apples and buys 4 more.\n"


def small(folder: Path, slots: int, **fields: Any) -> LocalEngine:
    """An engine with room for so many slots."""
    memory_gb = slots * CONTEXT * BYTES_PER_TOKEN * 1.01 / 1e9
    return Local(str(folder), context_tokens=CONTEXT, memory_gb=memory_gb, **fields).open()


@pytest.fixture(scope="module")
def naive(tiny_llama_folder: Path) -> NaiveEngine:
    return Naive(str(tiny_llama_folder), context_tokens=CONTEXT).open()


@pytest.fixture(scope="module")
def roomy(tiny_llama_folder: Path) -> LocalEngine:
    """Enough slots for anything here; tests must release what they use."""
    return small(tiny_llama_folder, 64)


def root(engine: Engine, search: str = "s", text: str = QUESTION, **markers: Any) -> Trajectory:
    prompt = Prompt(text, markers=replace(Markers(), **markers))
    return Trajectory.at(Origin(Problem(text, text), prompt, text, engine.encode(text, prompt=True), 0, search))


def ask(
    number: int, parent: Trajectory, index: int = 0, until: Until = Until.STEP, tokens: int = 24, **fields: Any
) -> GenerationRequest:
    """The request for the `index`-th child, with the driver's random stream."""
    stream = stream_key(0, parent.origin.problem.id, (*parent.path, index))
    return GenerationRequest(number, parent, stream, max_tokens=tokens, until=until, **fields)


def run(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Generation]:
    """Replies in the order of the requests; each comes exactly once."""
    engine.submit(requests)
    done: list[Generation] = []
    for _ in range(5000):
        done += engine.poll()
        if len(done) >= len(requests):
            break
    assert sorted(one.id for one in done) == sorted(request.id for request in requests)
    assert engine.poll() == []
    by_id = {one.id: one for one in done}
    return [by_id[request.id] for request in requests]


def written(generation: Generation) -> tuple[int, ...]:
    return tuple(token for step in generation.steps for token in step.tokens)


def child(parent: Trajectory, generation: Generation, index: int = 0) -> Trajectory:
    for number, step in enumerate(generation.steps):
        parent = parent.extend(step, 0 if number else index)
    return parent


def grow_tree(engine: Engine, depth: int, width: int, search: str = "s") -> list[tuple[int, ...]]:
    """Every node's tokens of a tree grown step by step, all children of one depth asked for together."""
    level, found = [root(engine, search)], []
    for _ in range(depth):
        asked = [(node, index) for node in level if not node.finished for index in range(width)]
        replies = run(engine, [ask(n, node, index, tokens=10) for n, (node, index) in enumerate(asked)])
        level = [child(node, reply, index) for (node, index), reply in zip(asked, replies, strict=True)]
        found += [node.tokens for node in level]
    engine.release(search)
    return found


@pytest.fixture
def fed(roomy: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each forward was fed, from here on."""
    counts: list[int] = []
    step = roomy.runner.step

    def counting(batch: Any, **options: Any) -> Any:
        counts.append(len(batch.tokens) + sum(map(len, batch.segment_tokens)))
        return step(batch, **options)

    monkeypatch.setattr(roomy.runner, "step", counting)
    return counts


def test_growing_step_by_step_writes_what_a_whole_sample_does(roomy: LocalEngine) -> None:
    start = root(roomy)
    for index in range(4):
        (whole,) = run(roomy, [ask(1, start, index, Until.END, tokens=40)])
        node = start
        while node.num_sampled < 40 and not node.finished:
            (reply,) = run(roomy, [ask(2, node, 0 if node.depth else index, tokens=40 - node.num_sampled)])
            node = child(node, reply, 0 if node.depth else index)
        assert node.tokens == start.tokens + written(whole)
        assert [(step.text, step.end) for step in node.steps] == [(step.text, step.end) for step in whole.steps]
        logprobs = [[value for step in steps for value in step.logprobs] for steps in (node.steps, whole.steps)]
        assert np.allclose(*logprobs, atol=1e-4)
    roomy.release("s")


def test_a_tree_equals_the_naive_twins(roomy: LocalEngine, naive: NaiveEngine) -> None:
    assert grow_tree(roomy, depth=3, width=3) == grow_tree(naive, depth=3, width=3)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_fewer_slots_than_children_change_nothing_but_the_work(
    tiny_llama_folder: Path, roomy: LocalEngine, slots: int
) -> None:
    tight = small(tiny_llama_folder, slots)
    assert tight.runner.slots.count == slots
    assert grow_tree(tight, depth=3, width=3) == grow_tree(roomy, depth=3, width=3)


def test_the_same_request_alone_and_among_others_writes_the_same(roomy: LocalEngine) -> None:
    texts = ["3 + 4", QUESTION, "The answer is", "Emoji 🙂", "x"]
    requests = [
        ask(n, root(roomy, f"s{n}", texts[n % 5]), n // 5, Until.END, tokens=20, temperature=(0.0, 0.8, 1.0)[n % 3])
        for n in range(21)
    ]
    together = run(roomy, requests)
    for request in requests:
        roomy.release(request.parent.origin.search)
    for request, reply in zip(requests, together, strict=True):
        (alone,) = run(roomy, [request])
        assert written(alone) == written(reply)
        roomy.release(request.parent.origin.search)


def test_the_prompt_is_read_once_and_siblings_share_one_forward(roomy: LocalEngine, fed: list[int]) -> None:
    start = root(roomy)
    replies = run(roomy, [ask(n, start, n, tokens=5, stop=()) for n in range(8)])
    assert fed[0] == start.length
    assert fed[1:] == [8] * 4 or max(fed[1:]) <= 8
    fed.clear()
    node = child(start, replies[0])
    run(roomy, [ask(n, node, n, tokens=3) for n in range(4)])
    assert fed[0] == 1  # the pending last token, once for four children
    fed.clear()
    run(roomy, [ask(1, node, 9, tokens=1)])
    assert fed == []  # a return to the node needs its logits alone
    assert sum(reply.spent["policy"].prompt_tokens for reply in replies) == start.length
    roomy.release("s")


def test_a_return_to_an_evicted_node_recomputes_and_says_so(tiny_llama_folder: Path, roomy: LocalEngine) -> None:
    tight = small(tiny_llama_folder, 2)
    start = root(tight, "a")
    (first,) = run(tight, [ask(1, start, tokens=12)])
    assert first.spent["policy"].recomputed_tokens == 0
    run(tight, [ask(n, root(tight, "b", "Hello"), n, tokens=12) for n in range(2)])  # pushes search a out
    node = child(start, first)
    (back,) = run(tight, [ask(2, node, tokens=12)])
    cost = back.spent["policy"]
    assert cost.recomputed_tokens == node.length - 1  # the last token had never been computed
    assert cost.prompt_tokens == 1
    (same,) = run(roomy, [ask(2, node, tokens=12)])
    assert written(same) == written(back)
    roomy.release("a")


def test_each_flop_is_charged_once(roomy: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Double entry: what the requests were charged is what the forwards, looked at one by one, needed."""
    pricer, counted = roomy._meter.pricer, Counted()
    step, logits = roomy.runner.step, roomy.runner.logits

    def counting_step(batch: Any, **options: Any) -> Any:
        for position in batch.positions:
            counted.flops += pricer.needed(int(position), 1, 0)
        for segment in batch.segments:
            counted.flops += pricer.needed(segment.start, segment.tokens, 0)
        counted.forwards += 1
        return step(batch, **options)

    def counting_logits(hidden: torch.Tensor) -> torch.Tensor:
        counted.flops += len(hidden) * pricer.flops_per_logits
        return logits(hidden)

    monkeypatch.setattr(roomy.runner, "step", counting_step)
    monkeypatch.setattr(roomy.runner, "logits", counting_logits)
    spent = ZERO
    level = [root(roomy), root(roomy, "other", "3 + 4")]
    for _ in range(3):
        asked = [(node, index) for node in level if not node.finished for index in range(3)]
        replies = run(roomy, [ask(n, node, index, tokens=7) for n, (node, index) in enumerate(asked)])
        spent = sum((reply.spent["policy"] for reply in replies), spent)
        level = [child(node, reply, index) for (node, index), reply in zip(asked, replies, strict=True)]
    # A return to a node by two at once: one row of logits, nothing else.
    replies = run(roomy, [ask(n, level[0].parent or level[0], 7 + n, tokens=1) for n in range(2)])
    spent = sum((reply.spent["policy"] for reply in replies), spent)
    assert spent.flops == counted.flops
    assert spent.new_tokens == sum(node.num_sampled for node in level) or spent.new_tokens > 0
    assert spent.executed_flops >= spent.flops
    assert counted.forwards <= spent.serial_forwards <= 2 * counted.forwards  # two searches took part
    assert spent.weight_bytes <= counted.forwards * pricer.shape.weight_bytes
    roomy.release("s")
    roomy.release("other")


def test_shared_prompts_are_read_once_and_write_the_same(tiny_llama_folder: Path, roomy: LocalEngine) -> None:
    shared = small(tiny_llama_folder, 64, share_prompts=True)
    texts = [QUESTION * 4 + end for end in ("How many?", "Who?", "How many?")]
    replies = {}
    for engine in (roomy, shared):
        starts = [root(engine, f"s{n}", text) for n, text in enumerate(texts)]
        asked = [ask(n, start, n, Until.END, tokens=12) for n, start in enumerate([*starts, *starts])]
        replies[engine] = run(engine, asked)
        for start in starts:
            engine.release(start.origin.search)
    assert [written(reply) for reply in replies[shared]] == [written(reply) for reply in replies[roomy]]
    read = sum(reply.spent["policy"].prompt_tokens for reply in replies[shared])
    prompts = [shared.encode(text, prompt=True) for text in texts]
    beginnings = {prompt[:end] for prompt in prompts for end in range(1, len(prompt) + 1)}
    assert read == len(beginnings) + 1  # the third asks for the state at its last token
    assert sum(reply.spent["policy"].prompt_tokens for reply in replies[roomy]) == sum(map(len, prompts))


class Counted:
    """A plain counter."""

    flops = 0
    forwards = 0


def test_costs_of_a_whole_sample_are_those_of_the_formula(roomy: LocalEngine) -> None:
    start = root(roomy)
    (reply,) = run(roomy, [ask(1, start, until=Until.END, tokens=9, temperature=0.0)])
    made = len(written(reply))
    wanted = roomy.prefill_cost(0, start.length)["policy"] + roomy.decode_cost(start.length, made - 1)["policy"]
    cost = reply.spent["policy"]
    names = ("prefill_flops", "decode_flops", "executed_flops", "kv_read_bytes", "serial_forwards", "prompt_tokens")
    for name in names:
        assert getattr(cost, name) == getattr(wanted, name), name
    assert (cost.new_tokens, cost.cached_tokens, cost.recomputed_tokens) == (made, 0, 0)
    assert abs(cost.weight_bytes - wanted.weight_bytes) <= 1
    assert cost.kv_held_bytes == (start.length + made - 1) * BYTES_PER_TOKEN
    assert 0 < cost.seconds == reply.seconds
    roomy.release("s")


def test_seconds_are_divided_over_all_and_add_up(roomy: LocalEngine) -> None:
    import time

    requests = [ask(n, root(roomy, f"s{n}"), n, Until.END, tokens=20) for n in range(5)]
    began = time.perf_counter()
    replies = run(roomy, requests)
    passed = time.perf_counter() - began
    assert 0.3 * passed < sum(reply.seconds for reply in replies) <= passed
    for n in range(5):
        roomy.release(f"s{n}")


def test_broken_logits_fail_their_own_request_alone(roomy: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = roomy.runner.logits

    @torch.inference_mode()
    def breaking(hidden: torch.Tensor) -> torch.Tensor:
        found = logits(hidden).clone()
        found[1:] = float("nan")
        return found

    healthy, sick = root(roomy, "a"), root(roomy, "b", "3 + 4")
    (wanted,) = run(roomy, [ask(1, healthy, until=Until.END)])
    roomy.release("a")
    monkeypatch.setattr(roomy.runner, "logits", breaking)
    good, bad = run(roomy, [ask(1, healthy, until=Until.END), ask(2, sick, until=Until.END)])
    assert written(good) == written(wanted)
    assert bad.steps == ()
    assert bad.error is not None
    assert "not numbers" in bad.error
    monkeypatch.undo()
    (again,) = run(roomy, [ask(3, sick, until=Until.END)])
    assert again.error is None
    for search in "ab":
        roomy.release(search)


def test_prompts_that_do_not_fit_are_refused_one_by_one(roomy: LocalEngine) -> None:
    long, empty, fine = root(roomy, "a", "x" * 500), root(roomy, "b", ""), root(roomy, "c")
    first, second, third = run(roomy, [ask(1, long), ask(2, empty), ask(3, fine)])
    assert first.error is not None
    assert "raise context_tokens" in first.error
    assert second.error == "the prompt is empty: there is no token to start from"
    assert third.error is None
    roomy.release("c")


def test_a_request_may_not_run_past_the_context(roomy: LocalEngine) -> None:
    start = root(roomy)
    (reply,) = run(roomy, [ask(1, start, until=Until.END, tokens=10_000, temperature=1.0)])
    assert start.length + len(written(reply)) <= CONTEXT
    roomy.release("s")


def test_what_is_held_is_bounded_and_released(tiny_llama_folder: Path) -> None:
    engine = small(tiny_llama_folder, 4)
    for search in range(6):
        run(engine, [ask(n, root(engine, f"s{search}"), n, tokens=4) for n in range(6)])
    assert int((engine._paths.held > 0).sum()) <= 4
    for search in range(6):
        engine.release(f"s{search}")
    assert not engine._paths.held.any()
    assert engine._paths.searches == {}


def test_releasing_a_search_in_flight_gives_its_requests_back(roomy: LocalEngine) -> None:
    roomy.submit([ask(1, root(roomy), until=Until.END, tokens=50)])
    roomy.poll()
    roomy.release("s")
    (reply,) = roomy.poll()
    assert reply.cancelled
    assert reply.steps[-1].end is StepEnd.CAP
    assert not roomy._paths.live.any()


def test_bfloat16_says_how_many_sequences_stay_equal(
    tiny_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = small(tiny_llama_folder, 32, dtype="bfloat16")
    requests = [ask(n, root(engine, f"s{n}"), n, Until.END, tokens=16) for n in range(12)]
    together = run(engine, requests)
    for n in range(12):
        engine.release(f"s{n}")
    alone = []
    for request in requests:
        alone += run(engine, [request])
        engine.release(request.parent.origin.search)
    equal = sum(written(one) == written(other) for one, other in zip(together, alone, strict=True))
    with capsys.disabled():
        print(f"\nbfloat16: {equal} of 12 sequences equal alone and among others")
    assert equal >= 1


def test_bad_specs_and_models_are_refused(tiny_llama_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="max_live=0"):
        Local("m", max_live=0)
    with pytest.raises(ModelError, match="does not exist"):
        Local("/no/such/folder").open()
    with pytest.raises(ModelError, match=r"no config\.json"):
        Local(str(tmp_path)).open()
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        Local(str(tmp_path)).open()
    with pytest.raises(ModelError, match="was made for 256 tokens"):
        Local(str(tiny_llama_folder), context_tokens=100_000).open()
    with pytest.raises(ModelError, match="no fast kernels on a CPU; use 'bfloat16' or 'float32'"):
        Local(str(tiny_llama_folder), dtype="float16", device="cpu").open()
    with pytest.raises(ModelError, match="raise memory_gb or lower context_tokens"):
        Local(str(tiny_llama_folder), memory_gb=1e-6).open()


def test_a_hub_name_without_network_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="give a local folder, or a hub id with network access"):
        Local("nobody/no-such-model").open()


def test_costs_come_back_for_cancelled_requests_too(roomy: LocalEngine) -> None:
    roomy.submit([ask(1, root(roomy), until=Until.END, tokens=50), ask(2, root(roomy, "t"), tokens=5)])
    for _ in range(4):
        roomy.poll()
    roomy.cancel([1])
    done: list[Generation] = []
    while len(done) < 2:
        done += roomy.poll()
    cancelled = next(one for one in done if one.id == 1)
    cost: Cost = cancelled.spent["policy"]
    assert cost.new_tokens == len(written(cancelled)) >= 4
    assert np.isfinite(cost.seconds)
    for search in "st":
        roomy.release(search)
