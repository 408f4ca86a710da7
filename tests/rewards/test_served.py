"""A reward on a server is the reward in this process: the same format, the same reads, the same numbers."""

import pytest
from fake_rewards import FakeRewards
from faulty_proxy import FaultyProxy

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.errors import EngineError, ModelError, RewardError, SpecError
from isoflop.rewards.base import RewardContext
from isoflop.rewards.models import load_scoring_model, word_ids
from isoflop.runtime.loading import load_tokenizer

PATHS = {
    "qwen_prm": "/pooling",
    "token_prm": "/pooling",
    "skywork": "/pooling",
    "outcome": "/classify",
    "rlhflow": "/v1/completions",
    "math_shepherd": "/v1/completions",
}


def serve(kind, folder, tag=None):
    spec, tokenizer = specs.parse("reward", f"{kind}({str(folder)!r})"), load_tokenizer(str(folder))
    readout = spec.readout()
    model = load_scoring_model(str(folder), readout, tokenizer, asked_by=kind, dtype="auto", device="cpu")
    return FakeRewards(model, word_ids(readout, tokenizer) if readout.kind == "tokens" else (), tag)


def paths():
    root = Trajectory.at(Origin(Problem("p", "How much is 3 + 4?"), Prompt("Q"), "Q", (1,), 0, "s"))
    first = root.extend(Step("3 + 4 = 7\n", (1, 2)), 0)
    return [first, first.extend(Step("So the answer is: 7", (3,)), 0), root.extend(Step("It is 12\n", (4,)), 1)]


def scores(spelled, count=3):
    reward = specs.parse("reward", spelled).open(RewardContext())
    try:
        return reward.score(paths()[:count])
    finally:
        reward.close()


@pytest.mark.parametrize("kind", PATHS)
def test_the_rewards_are_those_of_the_same_model_here(checkpoints, kind):
    inner = f"{kind}({str(checkpoints[kind])!r}, cached=False)"
    with serve(kind, checkpoints[kind]) as server:
        served = scores(f"served({server.url!r}, 'prm', {inner})")
        assert set(server.paths) == {PATHS[kind]}
    local = scores(inner)
    for ours, theirs in zip(served.rewards, local.rewards, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert all(cost["reward"].flops > 0 for cost in served.spent)
    if PATHS[kind] == "/pooling":  # one call a passage, as here; the head is counted alike
        assert [cost["reward"].flops for cost in served.spent] == [cost["reward"].flops for cost in local.spent]


def test_a_server_that_shows_the_marks_alone_gives_the_same_rewards(checkpoints):
    """vLLM's default for Qwen's process reward models; with another mark than ours it says how to start it."""
    folder = checkpoints["qwen_prm"]
    inner = f"qwen_prm({str(folder)!r}, cached=False)"
    mark = load_tokenizer(str(folder)).convert_tokens_to_ids("<extra_0>")
    with serve("qwen_prm", folder, mark) as server:
        served = scores(f"served({server.url!r}, 'prm', {inner})")
    for ours, theirs in zip(served.rewards, scores(inner).rewards, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    with serve("qwen_prm", folder, tag=-1) as server, pytest.raises(EngineError, match=r"0 rows for \d+ .*\"ALL\""):
        scores(f"served({server.url!r}, 'prm', {inner})")


def test_faults_are_repeated_or_told(checkpoints):
    folder = checkpoints["qwen_prm"]
    with serve("qwen_prm", folder) as server, FaultyProxy(server.url) as proxy:
        reward = f"served({proxy.url!r}, 'prm', qwen_prm({str(folder)!r}), timeout_seconds=4.0)"
        proxy.faults = ["", "drop", "500", "half"]
        assert len(scores(reward).rewards) == 3
        proxy.faults = ["", "400"]
        with pytest.raises(RewardError, match="answered 400: spoilt"):
            scores(reward, 1)
        proxy.faults = ["", "hang"]
        with pytest.raises(RewardError, match="took longer than timeout_seconds=4"):
            scores(reward, 1)
        with pytest.raises(EngineError, match="404: The model `other` does not exist"):
            scores(reward.replace("'prm'", "'other'"))
        proxy.faults = ["400"]
        with pytest.raises(ModelError, match="spoilt"):
            scores(reward)


def test_what_cannot_be_served_is_refused():
    for inner in ("logprob()", "judge('m', check_tokens=5)"):
        with pytest.raises(SpecError, match="a reward model that one forward reads"):
            specs.parse("reward", f"served('http://host', 'm', {inner})")
