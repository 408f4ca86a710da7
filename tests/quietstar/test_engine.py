"""Quiet-STaR as an engine, token by token against the naive twin, which recomputes everything."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from thinking_engines import NAMES, TEXTS, ask, opened, root, run
from transformers import AutoModelForCausalLM

from isoflop.api import solve
from isoflop.cli.main import run as main
from isoflop.core import Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.ledger import Budget
from isoflop.engines.base import Generation, GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.errors import ModelError, SpecError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.checkpoint import WEIGHTS
from isoflop.quietstar.cost import ThoughtPricer
from isoflop.quietstar.engine import QuietStar
from isoflop.quietstar.naive import naive_next_token
from isoflop.randomness import uniform

SAMPLING = "sampling(max_tokens=24)"


def check(model: ThoughtModel, request: GenerationRequest, reply: Generation) -> None:
    """Every token is what the twin's mixed logits give, its log-probability too, given the thought that was noted."""
    assert reply.error is None
    known = list(request.parent.tokens + request.forced)
    for step in reply.steps:
        noted = {thought.at: thought for thought in step.thoughts}
        for place in range(step.forced, len(step.tokens)):
            if place in noted:
                out = naive_next_token(model, known, np.array(noted[place].tokens, dtype=np.int64))
                assert noted[place].weight == pytest.approx(out.weight, abs=2e-4)
                logits = out.logits
            else:
                logits = model.next_token(known).base_logits
            logits[list(model.config.thought_ids)] = float("-inf")
            token = step.tokens[place]
            if request.temperature == 0:
                assert token == int(logits.argmax())
            else:
                shares = (logits.double() / request.temperature).softmax(-1).cumsum(-1)
                draw = uniform(request.stream, len(known) - len(request.parent.origin.prompt_tokens))
                assert token == int(torch.searchsorted(shares, torch.tensor(draw, dtype=torch.float64), right=True))
            assert step.logprobs[place - step.forced] == pytest.approx(float(logits.log_softmax(-1)[token]), abs=2e-3)
            known.append(token)


@pytest.mark.parametrize("n_ahead", [2, 3, 4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_every_token_is_the_naive_twins(folders: dict[str, Path], name: str, n_ahead: int) -> None:
    """Different lengths, greedy and sampled, some joining while others are under way."""
    engine = opened(folders[name], n_ahead=n_ahead)
    model = ThoughtModel.load(folders[name], n_ahead)
    requests = [
        ask(n, root(engine, text, f"s{n}"), n, temperature=(0.0, 1.0, 0.7)[n], tokens=9) for n, text in enumerate(TEXTS)
    ]
    for request, reply in zip(requests, run(engine, requests[:2], requests[2:]), strict=True):
        check(model, request, reply)
        greedy = naive_next_token(model, request.parent.tokens).thoughts
        assert list(reply.steps[0].thoughts[0].tokens) == greedy


def test_forks_and_evictions_change_no_token(folders: dict[str, Path]) -> None:
    """A tree of siblings with thoughts of their own, grown in plenty of slots and in two."""
    model = ThoughtModel.load(folders["llama"], 8)
    bytes_per_slot = (128 + 7) * 2 * 2 * 2 * 8 * 4
    trees = []
    for slots in (40, 2):
        engine = opened(folders["llama"], thoughts="sampled", memory_gb=slots * bytes_per_slot * 1.01 / 1e9)
        start, found = root(engine, TEXTS[0]), []
        level = [start]
        for _ in range(2):
            asked = [ask(n, node, n % 2, tokens=4) for n, node in enumerate(two for one in level for two in (one, one))]
            replies = run(engine, asked)
            for request, reply in zip(asked, replies, strict=True):
                check(model, request, reply)
            level = [a.parent.extend(r.steps[0], a.child) for a, r in zip(asked, replies, strict=True)]
            found += [(node.tokens, [thought.tokens for thought in node.step.thoughts]) for node in level if node.step]
        trees.append(found)
    assert trees[0] == trees[1]


def test_never_is_the_plain_engine_to_the_last_bit(folders: dict[str, Path]) -> None:
    plain = Local(str(folders["llama"]), context_tokens=128, memory_gb=0.1).open()
    for engine in (opened(folders["llama"], think="never"),):
        asked = [ask(n, root(engine, text, f"s{n}"), n, tokens=20) for n, text in enumerate(TEXTS)]
        assert [one.steps for one in run(engine, asked)] == [one.steps for one in run(plain, asked)]


def test_a_gate_opens_where_the_plain_model_is_unsure(folders: dict[str, Path]) -> None:
    model, engine = ThoughtModel.load(folders["llama"], 8), opened(folders["llama"], think="gate(4.2)")
    request = ask(1, root(engine, TEXTS[0]), tokens=30)
    (reply,) = run(engine, [request])
    check(model, request, reply)
    known, thought_about = list(request.parent.tokens), []
    for step in reply.steps:
        for place, token in enumerate(step.tokens):
            logits = model.next_token(known).base_logits
            logits[list(model.config.thought_ids)] = float("-inf")
            entropy = torch.distributions.Categorical(logits=logits).entropy()
            assert (place in [one.at for one in step.thoughts]) == bool(entropy > 4.2)
            thought_about.append(bool(entropy > 4.2))
            known.append(token)
    assert {True, False} == set(thought_about)


def test_a_gate_head_decides_by_the_plain_state(folders: dict[str, Path], tmp_path: Path) -> None:
    """Its tensors stand among the thought's; a checkpoint without them is refused."""
    with pytest.raises(ModelError, match=r"has no gate head.*train one.*let the entropy decide"):
        opened(folders["llama"], think="gate(0.5, by='head')")
    folder = shutil.copytree(folders["llama"], tmp_path / "gated")
    generator = torch.Generator().manual_seed(0)
    head = {"gate_head.weight": torch.randn((1, 32), generator=generator), "gate_head.bias": torch.zeros(1)}
    save_file(load_file(folder / WEIGHTS) | head, folder / WEIGHTS)
    model, engine = ThoughtModel.load(folder, 8), opened(folder, think="gate(0.5, by='head')")
    request = ask(1, root(engine, TEXTS[0], step_end=()), tokens=24, temperature=0.0)
    (reply,) = run(engine, [request])
    check(model, request, reply)
    [step] = reply.steps
    base = AutoModelForCausalLM.from_pretrained(folders["llama"]).eval()
    with torch.inference_mode():
        hidden_ND = base.model(torch.tensor([[*request.parent.tokens, *step.tokens]])).last_hidden_state[0]
        gain_N = (hidden_ND @ head["gate_head.weight"][0]).tolist()[request.parent.length - 1 : -1]
    assert [one.at for one in step.thoughts] == [place for place, gain in enumerate(gain_N) if gain > 0]
    assert 0 < len(step.thoughts) < 24


def test_a_boundary_thought_stands_before_each_steps_first_token(folders: dict[str, Path]) -> None:
    engine = opened(folders["llama"], think="boundary")
    ends = tuple("abcdefghij0123456789 ")
    request = ask(1, root(engine, TEXTS[0], step_end=ends), tokens=60)
    (reply,) = run(engine, [request])
    assert len(reply.steps) > 2
    assert all([one.at for one in step.thoughts] == [0] for step in reply.steps)
    check(ThoughtModel.load(folders["llama"], 8), request, reply)


def test_an_oracle_gate_thinks_where_the_problem_says_that_operations_are_hidden(folders: dict[str, Path]) -> None:
    engine, ends = opened(folders["llama"], think="oracle"), tuple("abcdefghij0123456789 ")
    plain = root(engine, TEXTS[0], step_end=ends)
    problem = replace(plain.origin.problem, meta={"hidden": [[1], [], [2, 3]]})
    start = Trajectory.at(replace(plain.origin, problem=problem))
    request = ask(1, start, tokens=60)
    (whole,) = run(engine, [request])
    check(ThoughtModel.load(folders["llama"], 8), request, whole)
    thought_about = [bool(step.thoughts) for step in whole.steps]
    assert len(thought_about) > 4
    assert thought_about == [False, True, False, True] + [False] * (len(thought_about) - 4)
    # A step at a time is the same.
    node, one_by_one = start, []
    for number in range(4):
        (reply,) = run(engine, [ask(number, node, tokens=60, until=Until.STEP)])
        one_by_one.append(bool(reply.steps[0].thoughts))
        node = node.extend(reply.steps[0], 0)
    assert one_by_one == thought_about[:4]
    (refused,) = run(engine, [ask(1, plain)])
    assert "does not say behind which steps operations are hidden" in str(refused.error)


@pytest.mark.parametrize(("fields", "fresh"), [({}, 1), ({"thoughts": "sampled", "thoughts_per_node": 2}, 2)])
def test_siblings_share_a_nodes_thoughts_and_pay_once(folders: dict[str, Path], fields: Any, fresh: int) -> None:
    engine = opened(folders["llama"], think="boundary", **fields)
    start = root(engine, TEXTS[0], step_end=())
    replies = run(engine, [ask(n, start, n) for n in range(4)]) + run(engine, [ask(n, start, n) for n in range(4, 6)])
    thoughts = [reply.steps[0].thoughts[0].tokens for reply in replies]
    assert [thoughts[n] == thoughts[n % fresh] for n in range(6)] == [True] * 6
    assert len(set(thoughts)) == fresh
    prices = engine.thought_cost(start.length, 1)["thought"]
    made = [reply.spent["thought"].new_tokens for reply in replies if "thought" in reply.spent]
    assert sum(made) == fresh * prices.new_tokens == fresh * 5


@pytest.mark.parametrize("n_ahead", [2, 3, 8])
def test_thoughts_are_charged_to_their_own_role_by_the_formula(folders: dict[str, Path], n_ahead: int) -> None:
    """Double entry with torch's own count of what ran; it leaves out the two smallest products of a thought."""
    from torch.utils.flop_counter import FlopCounterMode

    engine = opened(folders["llama"], n_ahead=n_ahead)
    start = root(engine, TEXTS[0])
    with FlopCounterMode(display=False) as counter:
        (reply,) = run(engine, [ask(1, start, tokens=9)])
    made = sum(step.sampled for step in reply.steps)
    pricer: Pricer = engine._meter.pricer
    policy, thought = reply.spent["policy"], reply.spent["thought"]
    assert policy.flops == pricer.prefill(0, start.length) + pricer.decode(start.length, made - 1)
    assert thought.flops == ThoughtPricer(pricer, n_ahead).cost(start.length, made).flops
    assert thought.flops == engine.thought_cost(start.length, made)["thought"].flops
    assert thought.new_tokens == made * max(0, n_ahead - 3)
    assert counter.get_total_flops() == pytest.approx(policy.executed_flops + thought.executed_flops, rel=0.03)


def test_rules_that_do_not_exist_are_refused() -> None:
    for think in ("gate(-1)", "gate(x)", "gate(1.5, by='head')", "gate(0.5, by='chance')", "sometimes"):
        with pytest.raises(SpecError, match=r"is unknown; allowed: .*'gate\(t\)'.*by='head'"):
            QuietStar("m", think=think)
    with pytest.raises(SpecError, match="siblings share a node's thoughts with think='boundary'"):
        QuietStar("m", thoughts_per_node=2)
    with pytest.raises(SpecError, match="greedy thoughts are all the same"):
        QuietStar("m", think="boundary", thoughts_per_node=2)


def test_solve_shows_thoughts_and_says_how_often_they_changed_something(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = f"quietstar(model={str(folders['llama'])!r}, think='boundary', context_tokens=128, memory_gb=0.05)"
    how = ["--prompt", "plain()", "--sampling", "sampling(max_tokens=16, answer_tokens=4)", "--show-thoughts", "--json"]
    monkeypatch.setattr(sys, "argv", ["isoflop", "solve", "3 + 4", "--model", engine, *how])
    with pytest.raises(SystemExit) as ended:
        main()
    out = capsys.readouterr().out
    assert not ended.value.code
    assert "Thoughts (weight, thought, the likeliest next token without and with it)" in out
    assert re.search(r"before token \d+: [+-]\d+\.\d{3}  '.*'  '.*'( -> '.*'| stays)", out)
    found = json.loads(out.splitlines()[-1])["thoughts"]
    assert 0 < found["thoughts"] < found["tokens"]
    assert found["rate"] == found["thoughts"] / found["tokens"]
    shown = out.count("before token")
    assert shown == found["thoughts"]
    assert found["changed"] == sum(" -> " in line for line in out.splitlines() if "before token" in line)


SHARED = {"think": "boundary", "thoughts": "sampled", "thoughts_per_node": 2}
STRATEGIES = ["rebase(width=16)", "beam(width=2, expand=2)", "mcts(simulations=4, expand=2)", "self_consistency(n=3)"]


@pytest.mark.parametrize(
    "fields", [{}, {"think": "boundary", "thoughts": "sampled", "thoughts_per_node": 2}, {"ahead": True}], ids=str
)
@pytest.mark.parametrize("strategy", [*STRATEGIES, "budget_forcing(think_tokens=20)"])
def test_strategies_run_on_it_and_both_books_agree(folders: dict[str, Path], strategy: str, fields: Any) -> None:
    budget = Budget(flops=1e9)
    engine = opened(folders["llama"], **fields)
    attempt = solve("3 + 4", model=engine, strategy=strategy, prompt="plain()", budget=budget, sampling=SAMPLING)
    assert attempt.stop in ("finished", "budget")
    assert attempt.charged["thought"].new_tokens == attempt.spent["thought"].new_tokens > 0
    assert attempt.charged["thought"].flops == attempt.spent["thought"].flops
    assert sum(cost.flops for cost in attempt.charged.values()) <= 1e9


@pytest.mark.parametrize("flops", [3e7, 6e7, 2e8])
@pytest.mark.parametrize("fields", [{}, {"thoughts": "sampled", "ahead": True}, {"think": "gate(4.2)"}], ids=str)
def test_a_flops_budget_is_never_exceeded(folders: dict[str, Path], fields: Any, flops: float) -> None:
    engine, budget = opened(folders["llama"], **fields), Budget(flops=flops)
    attempt = solve("3 + 4", model=engine, strategy=STRATEGIES[0], prompt="plain()", budget=budget, sampling=SAMPLING)
    assert 0 < sum(cost.flops for cost in attempt.charged.values()) <= flops
