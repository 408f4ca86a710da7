"""The pool: a request answered before is answered at once, for nothing, and only among those who share."""

from dataclasses import replace

import pytest

from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.engines.base import Generation, GenerationRequest, Until
from isoflop.engines.pool import Pool
from isoflop.engines.scripted import Scripted, ScriptedEngine

PROBLEM = Problem("p", "How much?", "5")


@pytest.fixture
def engine() -> ScriptedEngine:
    return Scripted(tokens_per_poll=10).open()


def root(prompt: Prompt, search: str) -> Trajectory:
    return Trajectory.at(Origin(PROBLEM, prompt, "x", (1, 2, 3), 0, search))


def ask(pool: Pool, prompt: Prompt, search: str, **how: object) -> Generation:
    """One whole sample, driven to its end."""
    values = {"stream": 7, "max_tokens": 200, "until": Until.END, **how}
    request = GenerationRequest(id=1, parent=values.pop("parent", None) or root(prompt, search), **values)  # type: ignore[arg-type]
    pool.submit([request])
    while True:
        for generation in pool.poll():
            return generation


def test_the_second_to_ask_gets_the_same_sample_for_nothing(engine: ScriptedEngine) -> None:
    pool, prompt = Pool(engine), Prompt("x")
    pool.share(prompt)
    first = ask(pool, prompt, "a")
    made = engine.counted_new_tokens
    second = ask(pool, prompt, "b")
    assert second.steps == first.steps
    assert (second.spent, second.seconds) == ({}, first.seconds)
    assert engine.counted_new_tokens == made


def test_only_searches_from_the_same_shared_prompt_object_share(engine: ScriptedEngine) -> None:
    pool, prompt = Pool(engine), Prompt("x")
    pool.share(prompt)
    ask(pool, prompt, "a")
    assert ask(pool, replace(prompt), "b").spent  # an equal prompt, but another search's
    pool.forget(prompt)
    assert ask(pool, prompt, "c").spent


@pytest.mark.parametrize(
    "other", [{"stream": 8}, {"temperature": 0.5}, {"top_p": 0.9}, {"top_k": 3}, {"max_tokens": 20}, {"stop": ("1",)}]
)
def test_whatever_changes_the_sample_makes_it_another(engine: ScriptedEngine, other: dict[str, object]) -> None:
    pool, prompt = Pool(engine), Prompt("x")
    pool.share(prompt)
    ask(pool, prompt, "a")
    assert ask(pool, prompt, "b", **other).spent


def test_single_steps_are_not_kept_but_forced_closes_are(engine: ScriptedEngine) -> None:
    pool, prompt = Pool(engine), Prompt("x")
    pool.share(prompt)
    ask(pool, prompt, "a", until=Until.STEP)
    assert ask(pool, prompt, "b", until=Until.STEP).spent
    [step] = ask(pool, prompt, "a", until=Until.STEP).steps
    parents = [root(prompt, search).extend(step, 0) for search in "cd"]
    closes = [ask(pool, prompt, "", parent=parent, closing=True, forced=(9,), forced_text="=") for parent in parents]
    assert closes[0].spent
    assert not closes[1].spent
    assert closes[0].steps == closes[1].steps


def test_who_paid_is_told_when_the_search_is_released(engine: ScriptedEngine) -> None:
    pool, prompt = Pool(engine), Prompt("x")
    pool.share(prompt)
    ask(pool, prompt, "a")
    ask(pool, prompt, "b")
    pool.release("b")
    assert pool.drain() == []
    pool.release("a")
    [sample] = pool.drain()
    assert pool.drain() == []
    fresh = Pool(Scripted().open())
    fresh.share(prompt, [sample])  # as after a restart
    assert not ask(fresh, prompt, "c").spent


def test_failures_and_cancelled_work_are_not_kept() -> None:
    prompt = Prompt("x")
    pool = Pool(Scripted(broken=("p",)).open())
    pool.share(prompt)
    assert ask(pool, prompt, "a").error
    pool.release("a")
    assert pool.drain() == []
    slow = Pool(Scripted(tokens_per_poll=1).open())
    slow.share(prompt)
    slow.submit([GenerationRequest(id=3, parent=root(prompt, "a"), stream=7, max_tokens=50, until=Until.END)])
    slow.cancel([3])
    [cut] = slow.poll()
    assert cut.cancelled
    slow.release("a")
    assert slow.drain() == []


def test_a_known_sample_can_be_cancelled_before_it_is_handed_out(engine: ScriptedEngine) -> None:
    pool, prompt = Pool(engine), Prompt("x")
    pool.share(prompt)
    ask(pool, prompt, "a")
    pool.submit([GenerationRequest(id=5, parent=root(prompt, "b"), stream=7, max_tokens=200, until=Until.END)])
    pool.cancel([5])
    [cut] = pool.poll()
    assert (cut.id, cut.cancelled, cut.steps, cut.spent) == (5, True, (), {})
