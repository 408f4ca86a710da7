"""A process reward model on a real vLLM gives the rewards that it gives here (`make test-engines`)."""

import json

import pytest
import torch
from real_servers import VllmServer
from safetensors.torch import load_file, save_file

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.rewards.base import RewardContext

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def prm(checkpoints, tmp_path_factory):
    """Qwen's architecture with random weights, in a size that vLLM has kernels for; tokenizer and head as in tests."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

    folder = tmp_path_factory.mktemp("real") / "prm"
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["qwen_prm"])
    torch.manual_seed(3)
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    vocabulary = -(-len(tokenizer) // 64) * 64
    config = Qwen2Config(
        **sizes, num_key_value_heads=2, vocab_size=vocabulary, max_position_embeddings=512, tie_word_embeddings=False,
        initializer_range=0.1, dtype="float32",
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    held = {name: value for name, value in load_file(folder / "model.safetensors").items() if name != "lm_head.weight"}
    head = {"score.0.weight": (256, 256), "score.0.bias": (256,), "score.2.weight": (2, 256), "score.2.bias": (2,)}
    held |= {name: torch.randn(shape) / 8 for name, shape in head.items()}
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["Qwen2ForProcessRewardModel"]}))
    return folder


def test_the_rewards_are_those_of_the_same_model_here(prm):
    root = Trajectory.at(Origin(Problem("p", "How much is 3 + 4?"), Prompt("Q"), "Q", (1,), 0, "s"))
    first = root.extend(Step("3 + 4 = 7\n", (1, 2)), 0)
    paths = [first, first.extend(Step("So the answer is: 7", (3,)), 0), root.extend(Step("It is 12\n", (4,)), 1)]
    inner = f"qwen_prm({str(prm)!r}, dtype='float32')"
    told = []
    with VllmServer(prm, "prm", "--runner", "pooling", "--dtype", "float32", "--max-model-len", "512") as url:
        for spelled in (f"served({url!r}, 'prm', {inner})", inner):
            reward = specs.parse("reward", spelled).open(RewardContext())
            told.append([value for own in reward.score(paths).rewards for value in own])
            reward.close()
    assert told[0] == pytest.approx(told[1], abs=1e-3)
    assert len(set(told[1])) > 1
