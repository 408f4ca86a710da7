"""What a head reads of each step while it is generated, against plain forwards over the finished paths."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from isoflop.api import solve
from isoflop.asking import Prompt
from isoflop.core import Attempt, Origin, Problem, StepEnd, Trajectory
from isoflop.engines.base import Engine, EngineSpec, GenerationRequest, Until
from isoflop.engines.local import Local
from isoflop.engines.naive import Naive
from isoflop.engines.scripted import Scripted
from isoflop.errors import ModelError, SpecError
from isoflop.randomness import stream_key
from isoflop.rewards.head_folder import Head, save_head

SLOT_GB = 192 * 256 / 1e9  # 192 tokens of 256 bytes
STRATEGIES = [
    "self_consistency(n=3)",
    "beam(width=2, expand=2)",
    "mcts(simulations=4, expand=2)",
    "budget_forcing(think_tokens=12)",
]


@pytest.fixture(scope="module")
def model(tiny_llama_folder: Path) -> str:
    return str(tiny_llama_folder)


@pytest.fixture(scope="module")
def head(model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A head of the tiny Llama with random weights."""
    folder = tmp_path_factory.mktemp("heads") / "head"
    torch.manual_seed(3)
    save_head(folder, Head(torch.randn(1, 32) / 8, torch.randn(1), trunk="somewhere/else/llama"))
    return str(folder)


@pytest.fixture(scope="module")
def engines(model: str, head: str) -> Iterable[list[Engine]]:
    """Many slots, three slots, and the twin."""
    specs: list[EngineSpec] = [Local(model, context_tokens=192, memory_gb=n * SLOT_GB) for n in (64.5, 3.5)]
    opened = [spec.reading(head).open() for spec in (*specs, Naive(model, context_tokens=192))]
    yield opened
    for engine in opened:
        engine.close()


def tree(attempt: Attempt) -> dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, ...]]:
    return {(node.path, node.tokens): node.step.readouts for node in attempt.nodes if node.step}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_forks_evictions_and_resumed_paths_read_what_the_twin_reads(engines: list[Engine], strategy: str) -> None:
    """Few slots evict, siblings share their past, budget forcing goes on behind an ending that was taken back."""
    question, sampling = "Tom has 3 apples and buys 4 more.", "sampling(max_tokens=30, answer_tokens=4)"
    attempts = [solve(question, model=one, strategy=strategy, prompt="plain()", sampling=sampling) for one in engines]
    many, few, naive = map(tree, attempts)
    assert many.keys() == few.keys() == naive.keys()
    assert attempts[1].spent["policy"].recomputed_tokens > 0 or "beam" not in strategy
    for key, expected in naive.items():
        assert len(expected) == 1
        assert many[key] == pytest.approx(expected, abs=1e-5)
        assert few[key] == pytest.approx(expected, abs=1e-5)


def start(engine: Engine) -> Trajectory:
    text = "Question: Tom has 3 apples.\n"
    return Trajectory.at(Origin(Problem("p", text), Prompt(text), text, engine.encode(text, prompt=True), 0, "s"))


def ask(engine: Engine, number: int, tokens: int, **fields: object) -> GenerationRequest:
    root = start(engine)
    stream = stream_key(0, "p", (number,))
    return GenerationRequest(number, root, stream, max_tokens=tokens, until=Until.END, **fields)  # type: ignore[arg-type]


def plainly_read(model: str, head: str, tokens: tuple[int, ...]) -> float:
    """By transformers alone: the head on the state before the last token."""
    from isoflop.rewards.head_folder import load_head

    loaded, causal = load_head(head), AutoModelForCausalLM.from_pretrained(model)
    with torch.inference_mode():
        hidden_ND = causal.model(torch.tensor([tokens])).last_hidden_state[0]
    return float(loaded.weight_1D[0] @ hidden_ND[-2] + loaded.bias_1[0])


def test_however_a_step_ends_it_is_read_before_its_last_token(engines: list[Engine], model: str, head: str) -> None:
    engine, met = engines[0], set()
    prefix = {"forced": engine.encode("So "), "forced_text": "So "}
    asked = [ask(engine, n, 40) for n in range(8)] + [ask(engine, 8, 40, stop=("e", "a"))]
    asked += [ask(engine, 9, 3, closing=True, **prefix), ask(engine, 10, 1, **prefix), ask(engine, 11, 99)]
    engine.submit(asked)
    done = [one for _ in range(6) for one in engine.poll()]
    engine.cancel([11])
    while len(done) < len(asked):
        done += engine.poll()
    for reply in done:
        node = asked[reply.id].parent
        for step in reply.steps:
            node = node.extend(step, 0)
            met.add("cancelled" if reply.cancelled else step.end)
            met |= {"stop string"} if reply.id == 8 and step.end is StepEnd.END else set()
            assert step.readouts == pytest.approx([plainly_read(model, head, node.tokens)], abs=1e-5)
    engine.release("s")
    assert met == {*StepEnd, "cancelled", "stop string"}


def test_a_head_changes_no_token_and_an_engine_without_one_reads_nothing(engines: list[Engine], model: str) -> None:
    with closing(Local(model, context_tokens=192).open()) as plain:
        replies = []
        for engine in (plain, engines[0]):
            engine.submit([ask(engine, n, 30) for n in range(4)])
            found = [one for _ in range(40) for one in engine.poll()]
            replies.append([[(s.tokens, s.logprobs) for s in one.steps] for one in sorted(found, key=lambda r: r.id)])
            if engine is plain:
                assert all(step.readouts == () for one in found for step in one.steps)
        engines[0].release("s")
    assert replies[0] == replies[1]


def test_what_cannot_be_read_is_refused_with_the_reason(model: str, head: str, tmp_path: Path) -> None:
    spec = Local(model).reading(head)
    assert spec == Local(model, readout=head)
    assert spec.reading(head) == spec
    with pytest.raises(SpecError, match="reads by another head than the reward's, 'other'"):
        spec.reading("other")
    with pytest.raises(SpecError, match=r"scripted\(\) does not show any; engines with .* local, quietstar"):
        Scripted().reading(head)
    save_head(tmp_path, Head(torch.zeros(1, 32), torch.zeros(1), trunk="some/mistral"))
    with pytest.raises(ModelError, match=r"trained on 'some/mistral' and reads nothing sensible from .*set trunk in"):
        Local(model, readout=str(tmp_path)).open()
