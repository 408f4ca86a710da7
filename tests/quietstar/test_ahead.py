"""Thinking ahead: the same text as thinking token by token, greedy, and the same distribution, sampled."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from thinking_engines import NAMES, TEXTS, ask, opened, root, run
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from isoflop.api import solve
from isoflop.asking import Markers, Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.shape import shape_from_config
from isoflop.engines.base import Generation, GenerationRequest, Until
from isoflop.engines.local_engine import LocalEngine
from isoflop.errors import SpecError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.engine import QuietStar
from isoflop.quietstar.engine_ahead import AheadThinker, front_tokens
from isoflop.runtime.runner import Runner

END = tuple("abcdefghij0123456789 ")


def told(reply: Generation) -> list[Any]:
    """Tokens and thoughts, without what waiting and dropping there was."""
    assert reply.error is None
    return [
        (step.tokens, step.end, [(one.at, one.tokens, one.plain, one.mixed) for one in step.thoughts])
        for step in reply.steps
    ]


@pytest.mark.parametrize("n_ahead", [2, 3, 4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_greedy_text_is_that_of_thinking_token_by_token(folders: dict[str, Path], name: str, n_ahead: int) -> None:
    """Different lengths, some joining while others are under way, steps that end in the middle."""
    replies = []
    for ahead in (False, True):
        engine = opened(folders[name], n_ahead=n_ahead, ahead=ahead)
        roots = [root(engine, text, f"s{n}", step_end=END) for n, text in enumerate(TEXTS)]
        asked = [ask(n, start, n, temperature=0.0, tokens=(1, 14, 30)[n]) for n, start in enumerate(roots)]
        replies.append(run(engine, asked[:2], asked[2:]))
    for plain, ahead in zip(*replies, strict=True):
        assert told(ahead) == told(plain)
        for one, other in zip(plain.steps, ahead.steps, strict=True):
            assert other.logprobs == pytest.approx(one.logprobs, abs=2e-3)
            weights = [[thought.weight for thought in step.thoughts] for step in (one, other)]
            assert weights[1] == pytest.approx(weights[0], abs=2e-4)


def test_neighbours_change_no_sampled_token(folders: dict[str, Path]) -> None:
    fields = {"ahead": True, "thoughts": "sampled"}
    engine = opened(folders["llama"], **fields)
    requests = [ask(n, root(engine, TEXTS[n % 3], f"s{n}"), n, temperature=1.0, tokens=9 + n) for n in range(6)]
    alone = [run(opened(folders["llama"], **fields), [request])[0] for request in requests]
    for one, crowded in zip(alone, run(engine, requests[:3], requests[3:]), strict=True):
        assert told(one) == told(crowded)
        assert one.spent["thought"].flops == crowded.spent["thought"].flops
        assert one.spent["thought"].new_tokens == crowded.spent["thought"].new_tokens


def test_where_thoughts_change_nothing_every_draft_stays(folders: dict[str, Path], tmp_path: Path) -> None:
    """An untrained head mixes nothing in: the plain engine's sampled text, a forward a token once the wave is full."""
    ThoughtModel.put_on(AutoModelForCausalLM.from_pretrained(folders["llama"])).save(tmp_path)
    AutoTokenizer.from_pretrained(folders["llama"]).save_pretrained(tmp_path)
    plain, ahead = opened(tmp_path, think="never"), opened(tmp_path, ahead=True)
    asked = [ask(1, root(plain, TEXTS[0]), tokens=30, temperature=0.8, top_p=0.9)]
    (one,), (other,) = run(plain, asked), run(ahead, asked)
    assert [step.tokens for step in other.steps] == [step.tokens for step in one.steps]
    assert ahead.forwards == 30 + 5
    assert [sum(t.waited for t in s.thoughts) for s in other.steps] == [5]
    assert sum(cost.serial_forwards for cost in other.spent.values()) == 35


def test_bfloat16_agreement_is_reported(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Its products depend on how many rows go through together, so near ties may fall the other way."""
    found = []
    for ahead in (False, True):
        engine = opened(folders["llama"], ahead=ahead, dtype="bfloat16")
        roots = [root(engine, text, f"s{n}", step_end=()) for n, text in enumerate(TEXTS)]
        replies = run(engine, [ask(n, start, n, 20, temperature=0.0) for n, start in enumerate(roots)])
        found.append([told(reply)[0][0] for reply in replies])
    equal = sum(one == other for pair in zip(*found, strict=True) for one, other in zip(*pair, strict=False))
    with capsys.disabled():
        print(f"\nbfloat16: {equal} of {sum(map(len, found[0]))} greedy tokens equal ahead and one by one")


VOCABULARY, PROMPT, LIVE = 5, (1, 3, 2), 1024


@pytest.fixture(scope="module", params=[(4, True), (5, False)], ids=["thoughts sampled", "greedy thoughts"])
def tiny(request: pytest.FixtureRequest, on_a_plain_model: Any) -> Iterator[tuple[LocalEngine, ThoughtModel, bool]]:
    """An engine over five tokens, so that every text of a few tokens has a probability worth counting."""
    n_ahead, sampled = request.param
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, **shape, max_position_embeddings=64)
    base = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        base.lm_head.weight.mul_(30)
    model = on_a_plain_model(deepcopy(base), n_ahead, ids=())
    with torch.no_grad():
        model.thought_parameters.talk_head[0][4].weight.mul_(3)  # more drafts go
    runner = Runner(base, slots=LIVE, slot_tokens=24, front=front_tokens(model.config))
    tokens: Any = SimpleNamespace(pieces=[b"."] * VOCABULARY, end_tokens=frozenset())
    pricer = Pricer(shape_from_config(base.config.to_dict()))
    own = tokens.pieces, pricer, model.thought_parameters, model.config
    engine = LocalEngine(runner, tokens, pricer.shape, LIVE, AheadThinker(runner, *own, sampled=sampled))
    yield engine, model, sampled
    engine.close()


def mixed_shares(model: ThoughtModel, known: tuple[int, ...], sampled: bool) -> np.ndarray:
    """The next token's exact distribution: over all thoughts, of one token each, where they are sampled."""
    if not sampled:
        return model.next_token(known).logits.double().softmax(-1).numpy()
    weights: list[np.ndarray] = []

    def choose(number: int, logits: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        weights.append(logits.double().softmax(-1).flatten().numpy())
        return torch.full(logits.shape[:-1], len(weights) - 1)

    model.choose = lambda thoughts: choose  # type: ignore[method-assign]
    after = [model.next_token(known).logits.double().softmax(-1).numpy() for _ in range(VOCABULARY)]
    return sum(weights[0][token] * after[token] for token in range(VOCABULARY))


def test_sampled_texts_have_the_distribution_of_the_mixture(tiny: tuple[LocalEngine, ThoughtModel, bool]) -> None:
    """20,480 texts of three tokens, against the exact probabilities of all 125; and each position's marginals."""
    engine, model, sampled = tiny
    draws, length = 20_480, 3
    prompt = Prompt(markers=Markers(step_end=(), stop=()))
    texts: list[tuple[int, ...]] = []
    kept = 0
    for first in range(0, draws, LIVE):
        start = Trajectory.at(Origin(Problem("p", ""), prompt, "", PROMPT, 0, f"s{first}"))
        how = {"max_tokens": length, "until": Until.END}
        engine.submit([GenerationRequest(n, start, 7919 * n, 1.0, **how) for n in range(first, first + LIVE)])
        while len(texts) < first + LIVE:
            for reply in engine.poll():
                texts.append(reply.steps[0].tokens)
                kept += sum(not one.dropped for one in reply.steps[0].thoughts[:-1])
        engine.release(f"s{first}")
    assert 0.2 < kept / (draws * (length - 1)) < 0.95  # drafts stay and go
    shares = dict.fromkeys([()], 1.0)
    for _ in range(length):
        after = {text: mixed_shares(model, PROMPT + text, sampled) for text in shares}
        shares = {(*text, t): share * after[text][t] for text, share in shares.items() for t in range(VOCABULARY)}
    cells = list(product(range(VOCABULARY), repeat=length))
    expected = np.array([shares[cell] for cell in cells]) * draws
    seen = np.array([texts.count(cell) for cell in cells])
    common = expected >= 5
    pooled = [np.append(one[common], one[~common].sum()) for one in (seen, expected)]
    held = pooled[1] > 0
    assert chisquare(pooled[0][held], pooled[1][held]).pvalue > 1e-3
    for place in range(length):
        at = np.array([cell[place] for cell in cells])
        counts = [np.bincount(at, weights=one, minlength=VOCABULARY) for one in (seen, expected)]
        assert chisquare(*counts).pvalue > 1e-3


@pytest.mark.parametrize("n_ahead", [3, 4, 8])
def test_what_it_takes_is_counted_and_priced_alike(folders: dict[str, Path], n_ahead: int) -> None:
    """Double entry: torch's count, the engine's as it happened, and the formula over the thoughts that were noted."""
    engine = opened(folders["llama"], n_ahead=n_ahead, ahead=True)
    start = root(engine, TEXTS[0])
    with FlopCounterMode(display=False) as counter:
        (reply,) = run(engine, [ask(1, start, tokens=20, temperature=1.0)])
    thoughts = [one for step in reply.steps for one in step.thoughts]
    pricer: Pricer = engine._meter.pricer
    policy, thought = reply.spent["policy"], reply.spent["thought"]
    assert policy.flops == pricer.prefill(0, start.length) + pricer.decode(start.length, len(thoughts) - 1)
    priced = [engine.cost_of_thought(start.length + k, one)["thought"] for k, one in enumerate(thoughts)]
    assert thought.flops == sum(one.flops for one in priced)
    assert thought.new_tokens == sum(one.new_tokens for one in priced)
    assert thought.serial_forwards == sum(one.serial_forwards for one in priced)
    assert thought.flops <= engine.thought_cost(start.length, len(thoughts))["thought"].flops
    assert any(one.dropped for one in thoughts) == (n_ahead > 3)
    executed = policy.executed_flops + thought.executed_flops
    assert counter.get_total_flops() == pytest.approx(executed, rel=0.02)
    assert policy.executed_flops + sum(one.executed_flops for one in priced) == pytest.approx(executed, rel=0.05)


def test_a_cancelled_sequence_leaves_the_others_alone(folders: dict[str, Path]) -> None:
    engine = opened(folders["llama"], ahead=True)
    asked = [ask(n, root(engine, TEXTS[0], f"s{n}"), n, 12) for n in range(3)]
    (alone,) = run(engine, asked[2:])
    engine.submit(asked)
    for turn in range(100):
        if turn == 7:
            engine.cancel([1])
        for reply in engine.poll():
            assert reply.cancelled == (reply.id == 1)
            if reply.id == 2:
                assert told(reply) == told(alone)
                return
    pytest.fail("the sequence did not end")


def test_trees_are_those_of_thinking_token_by_token(folders: dict[str, Path]) -> None:
    trees = []
    for ahead in (False, True):
        engine = opened(folders["llama"], ahead=ahead)
        how = {"prompt": "plain()", "sampling": "sampling(max_tokens=24, temperature=0)"}
        attempt = solve("3 + 4", model=engine, strategy="rebase(width=16)", **how)
        trees.append(sorted((node.path, node.tokens) for node in attempt.nodes))
    assert len(trees[0]) >= 16
    assert trees[0] == trees[1]


def test_few_slots_change_no_token(folders: dict[str, Path]) -> None:
    bytes_per_slot = (128 + 7 + 42) * 2 * 2 * 2 * 8 * 4
    found = []
    for slots in (40, 2):
        engine = opened(folders["llama"], ahead=True, memory_gb=slots * bytes_per_slot * 1.01 / 1e9)
        level = [root(engine, TEXTS[0])]
        for _ in range(2):
            asked = [ask(n, node, n % 2, tokens=4, temperature=1.0) for n, node in enumerate([*level, *level])]
            replies = run(engine, asked)
            level = [a.parent.extend(r.steps[0], a.child) for a, r in zip(asked, replies, strict=True)]
            found.append((slots, [node.tokens for node in level]))
    assert [tokens for slots, tokens in found if slots == 40] == [tokens for slots, tokens in found if slots == 2]


def test_rules_under_which_few_tokens_wait_are_refused() -> None:
    with pytest.raises(SpecError, match=r"ahead=True, think='boundary'.*few wait"):
        QuietStar("m", think="boundary", ahead=True)
