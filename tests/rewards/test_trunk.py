"""The reward from the policy's own states: its numbers, its price, whom it asks for what it reads, and its errors."""

import math
from dataclasses import replace

import pytest
import torch

from isoflop import api, specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.engines.local import Local
from isoflop.engines.naive import Naive
from isoflop.errors import ModelError, RewardError, SpecError
from isoflop.rewards.base import RewardContext
from isoflop.rewards.head_folder import Head, Standardised, save_head
from isoflop.studies.plan import plan_study
from isoflop.studies.spec import Arm, Study
from isoflop.studies.timing import time_study

FEATURES = Standardised(torch.tensor([2.0, -1.0]), torch.tensor([-0.5, -2.0]), torch.tensor([0.25, 0.5]))
STEP = Step("3 + 4 = 7\n", (1, 2), (-1.0, -0.5), readouts=(0.25,))


@pytest.fixture
def heads(tmp_path):
    """Two heads of the tiny Llama; the second weighs log-probabilities, too."""
    torch.manual_seed(0)
    for name, features in (("plain", None), ("weighing", FEATURES)):
        save_head(tmp_path / name, Head(torch.randn(1, 32) / 8, torch.randn(1), "llama", features))
    return {name: str(tmp_path / name) for name in ("plain", "weighing")}


def opened(folder):
    return specs.parse("reward", f"trunk({folder!r})").open(RewardContext())


def path(*steps, search="s"):
    node = Trajectory.at(Origin(Problem("p", "q"), Prompt(), "q", (1,), 0, search))
    for step in steps:
        node = node.extend(step, 0)
    return node


def flops(scores):
    return [spent["reward"].flops if spent else 0 for spent in scores.spent]


def test_a_reward_is_the_sigmoid_of_read_out_and_features(heads):
    plain, weighing = opened(heads["plain"]), opened(heads["weighing"])
    weighed = 0.25 + 2 * (-0.75 + 0.5) / 0.25 - (-1.0 + 2.0) / 0.5
    assert plain.score([path(STEP)]).rewards == ((1 / (1 + math.exp(-0.25)),),)
    assert weighing.score([path(STEP)]).logits == (((pytest.approx(weighed),),),)


def test_each_step_is_paid_once_at_two_flops_a_product(heads):
    plain, weighing = opened(heads["plain"]), opened(heads["weighing"])
    node = path(STEP, STEP)
    assert flops(plain.score([node, node.parent, node.extend(STEP, 0)])) == [2 * 64, 0, 64]
    assert flops(plain.score([node])) == [0]
    assert flops(weighing.score([node])) == [2 * (64 + 4)]
    assert plain.price(node, 3) == 3 * 64
    plain.release("s")
    assert plain.price(node, 1) == 3 * 64
    broken = node.extend(replace(STEP, readouts=()), 0)
    with pytest.raises(RewardError):
        plain.score([node, broken])
    assert flops(plain.score([node])) == [2 * 64]  # nothing was told, so nothing was paid


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (replace(STEP, readouts=()), r"carries no read-out\. Steps are read while they are generated, .*readout="),
        (replace(STEP, logprobs=(), forced=2), r"carries none \(2 tokens, 2 forced\)"),
        (replace(STEP, readouts=(math.nan,)), "read nan for the step"),
    ],
)
def test_a_step_that_has_no_reward_is_an_error(heads, step, reason):
    with pytest.raises(RewardError, match=reason):
        opened(heads["weighing"]).score([path(step)])


def test_the_user_names_the_head_once_and_the_engine_reads_by_it(tiny_llama_folder, heads):
    question, sampling = "Tom has 3 apples.", "sampling(max_tokens=24, answer_tokens=4)"
    reward = f"trunk({heads['weighing']!r})"
    found = []
    for spec in (Local(str(tiny_llama_folder), context_tokens=128), Naive(str(tiny_llama_folder), context_tokens=128)):
        attempt = api.solve(
            question, model=spec, strategy="rebase(width=3)", reward=reward, prompt="plain()", sampling=sampling
        )
        assert attempt.stop == "finished", attempt.message
        assert attempt.charged["reward"].flops == 68 * sum(reward is not None for reward in attempt.rewards)
        found.append({node.path: reward for node, reward in zip(attempt.nodes, attempt.rewards, strict=True)})
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_an_open_engine_without_the_head_is_refused(heads):
    with pytest.raises(SpecError, match=r"by the head '.*plain', and this engine reads none; open it with readout='"):
        api.solve(
            "q",
            model=specs.parse("engine", "scripted()").open(),
            strategy="best_of_n(n=2)",
            reward=f"trunk({heads['plain']!r})",
            prompt="plain()",
        )
    with pytest.raises(ModelError, match="there is no folder 'nowhere'"):
        opened("nowhere")


def test_an_ensemble_passes_on_its_one_head(heads):
    plain = f"trunk({heads['plain']!r})"
    assert specs.parse("reward", f"ensemble([logprob(), {plain}, {plain}])").head == heads["plain"]
    with pytest.raises(SpecError, match="an engine reads by one head"):
        specs.parse("reward", f"ensemble([{plain}, trunk({heads['weighing']!r})])")


def study_of(model, problems, **arms):
    values = {"model": model, "prompt": "plain()", "sampling": "sampling(max_tokens=16, answer_tokens=4)"}
    return Study(problems, [Arm.of(**values, strategy=s, reward=r, name=name) for name, (s, r) in arms.items()])


def test_a_study_opens_the_model_once_and_shares_its_samples(tiny_llama_folder, heads, tmp_path):
    (tmp_path / "problems.jsonl").write_text('{"question": "How much is 3 + 4?", "answer": "7"}')
    model = Local(str(tiny_llama_folder), context_tokens=128)
    problems, reward = f"jsonl(path={str(tmp_path / 'problems.jsonl')!r})", f"trunk({heads['plain']!r})"
    arms = {"vote": ("self_consistency(n=2)", None), "best": ("best_of_n(n=2)", reward)}
    study = study_of(model, problems, **arms)
    assert study.engines == (model.reading(heads["plain"]),) * 2
    assert [arm.engine for arm in study.arms] == [model, model]
    run = api.Run.create(study, tmp_path / "run")
    run.execute()
    vote, best = sorted(run.attempts, key=lambda record: record.arm == "best")
    assert "policy" not in best.spent
    assert 0 < best.charged["policy"].new_tokens == vote.spent["policy"].new_tokens
    assert all(len(node.step.readouts) == 1 and node.reward is None for node in vote.nodes)
    for node in best.nodes:
        assert node.reward == pytest.approx(1 / (1 + math.exp(-node.step.readouts[0])))
    assert all(arm.reward_priced for arm in plan_study(study).arms)
    assert len(time_study(study, problems=1, repeats=1).arms) == 2


def test_two_heads_on_one_model_are_two_engines(heads, tmp_path):
    (tmp_path / "problems.jsonl").write_text('{"question": "q", "answer": "7"}')
    problems, model = f"jsonl(path={str(tmp_path / 'problems.jsonl')!r})", Local("m")
    trunks = {name: ("best_of_n(n=2)", f"trunk({folder!r})") for name, folder in heads.items()}
    study = study_of(model, problems, free=("greedy()", None), **trunks)
    assert study.engines == tuple(model.reading(heads[name]) for name in ("plain", "plain", "weighing"))
    with pytest.raises(SpecError, match=r"scripted\(\) does not show any"):
        study_of("scripted()", problems, **trunks)
