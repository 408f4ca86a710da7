"""A reward model among real searches: one problem that it cannot take never harms its neighbours."""

import re
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Origin, Outcome, Problem, Step, Stop, Trajectory
from isoflop.engines.scripted import Scripted
from isoflop.errors import ModelError, SpecError
from isoflop.rewards.base import RewardContext
from isoflop.search.drive import drive
from isoflop.search.job import Job

GRADER = MathGrader(fallback=None)


def opened(spec, checkpoints, **options):
    told = "".join(f", {key}={value!r}" for key, value in options.items())
    kind = "rlhflow" if spec == "judge" else spec
    return specs.parse("reward", f"{spec}({str(checkpoints[kind])!r}{told})").open(RewardContext())


def searched(reward, questions, strategy="rebase(width=3)"):
    parsed, prompt = specs.parse("strategy", strategy), Prompt(text="How many?\n")
    jobs = [
        [Job(name, Problem(name, question, "4"), prompt, parsed, SamplingParams(), 0, GRADER, reward)]
        for name, question in questions.items()
    ]
    return {attempt.key: attempt for attempt in drive(jobs, Scripted(steps=2).open())}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("spec", "question", "law"),
    [
        (
            "qwen_prm",
            "How many apples? " * 200,
            r"problem 'bad': question and 1 steps are \d+ tokens .* context is 512",
        ),
        ("rlhflow", "".join(map(chr, range(0xE000, 0xE010))), "problem 'bad': the text holds every character"),
    ],
    ids=["too long", "cannot be shown"],
)
def test_one_problem_that_the_model_cannot_take_stops_alone(checkpoints, spec, question, law, cached):
    reward = opened(spec, checkpoints, cached=cached)
    found = searched(reward, {"a": "How many has a?", "bad": question, "b": "How many has b?"})
    alone = searched(opened(spec, checkpoints, cached=cached), {"a": "How many has a?"})["a"]
    bad = found["bad"]
    assert (bad.stop, bad.outcome) == (Stop.ERROR, Outcome.ERROR)
    assert re.match(law, bad.message)
    assert set(bad.rewards) == {None}
    assert {found[name].stop for name in "ab"} == {Stop.FINISHED}
    assert found["a"].rewards == pytest.approx(alone.rewards, abs=1e-5)
    assert found["a"].charged["reward"].flops == alone.charged["reward"].flops


@pytest.mark.parametrize("spec", ["{own}", "ensemble([logprob(), {own}])"])
@pytest.mark.parametrize("cached", [True, False])
def test_what_a_failed_scoring_computed_is_on_the_books_of_its_search(checkpoints, tmp_path, spec, cached):
    """Double entry: all that the scorer says it computed is in some attempt's spent, the failed one's included."""
    folder = tmp_path / "broken"
    shutil.copytree(checkpoints["skywork"], folder)
    tensors = load_file(folder / "model.safetensors")
    [token] = AutoTokenizer.from_pretrained(folder).encode("?")
    tensors["model.embed_tokens.weight"][token] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    reward = specs.parse("reward", spec.format(own=f"skywork({str(folder)!r}, cached={cached})")).open(RewardContext())
    inner = reward.members[1] if spec.startswith("ensemble") else reward
    computed, read = [], inner.scorer.read
    inner.scorer.read = lambda *asked: computed.append(read(*asked)) or computed[-1]
    found = searched(reward, {"a": "How many has a", "bad": "How many has bad?", "b": "How many has b"})
    assert (found["bad"].stop, found["bad"].outcome) == (Stop.ERROR, Outcome.ERROR)
    assert {found[name].stop for name in "ab"} == {Stop.FINISHED}
    for book, cost in (("spent", "cost"), ("charged", "charged")):
        told = {name: getattr(each, book)["reward"].flops for name, each in found.items()}
        assert told["bad"] > 0
        assert sum(told.values()) == sum(getattr(reading, cost).flops for call in computed for reading in call)


def test_a_scorer_that_breaks_down_is_in_order_afterwards(checkpoints):
    reward, twin = opened("qwen_prm", checkpoints), opened("qwen_prm", checkpoints)
    node = Trajectory.at(Origin(Problem("p", "How many?"), Prompt(), "q", (1,), 0, "s"))
    first = node.extend(Step("She has 3 + 4.\n", (1,)), 0)
    second = first.extend(Step("The answer is: 7", (1,)), 0)
    reward.score([first])
    step = reward.scorer.runner.step

    def broken(*given, **more):
        raise RuntimeError("out of memory")

    reward.scorer.runner.step = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        reward.score([second])
    reward.scorer.runner.step = step
    told, wanted = reward.score([second]), twin.score([second])
    assert told.rewards[0] == pytest.approx(wanted.rewards[0], abs=1e-5)
    assert told.spent[0]["reward"].flops == wanted.spent[0]["reward"].flops


def test_the_model_reads_text_and_never_the_policys_tokens(checkpoints):
    """Policies with other tokenizers (other ids, other cuts, ids that the reward model does not have) score alike."""
    for spec in ("math_shepherd", "qwen_prm"):
        reward = opened(spec, checkpoints)
        told = []
        for search, tokens in (("a", (1,)), ("b", (10**6, 2, 3, 4)), ("c", ())):
            node = Trajectory.at(Origin(Problem("p", "How many?"), Prompt(), "q", tokens, 0, search))
            for text in ("She has 3 + 4.\n", "The answer is: 7"):
                node = node.extend(Step(text, tokens), 0)
            told.append(reward.score([node]).rewards[0])
        assert told[1] == pytest.approx(told[0], abs=1e-5)
        assert told[2] == pytest.approx(told[0], abs=1e-5)


@pytest.mark.parametrize("spec", ["judge", "outcome"])
def test_a_judge_of_whole_solutions_selects_and_is_refused_to_steer(checkpoints, spec):
    reward = opened(
        spec, checkpoints, each_step=False, **({"prompt": "{question} {solution} ?"} if spec == "judge" else {})
    )
    with pytest.raises(SpecError, match=r"judges complete solutions only .*each_step=False.*; to steer .* leave"):
        searched(reward, {"a": "How many has a?"})
    assert searched(reward, {"a": "How many has a?"}, "best_of_n(n=2)")["a"].stop is Stop.FINISHED


def test_a_check_that_fills_the_context_is_refused_when_the_reward_is_opened(checkpoints):
    with pytest.raises(
        ModelError, match=r"check_tokens=600 .* leave no room for a question in the model's context of 512"
    ):
        opened("judge", checkpoints, check_tokens=600)
