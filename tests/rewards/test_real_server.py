"""A reward model on a real vLLM gives the rewards that it gives here, in each of three ways (`make test-engines`)."""

import json

import pytest
import torch
from real_servers import VllmServer, setting
from safetensors.torch import load_file, save_file
from scipy.special import logit

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.rewards.base import RewardContext

pytestmark = pytest.mark.engines
MARK = "<extra_0>"
HEADS = {"qwen_prm": "CausalLM", "token_prm": "TokenClassification", "outcome": "SequenceClassification"}


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory):
    """Qwen's architecture with random weights, in a size that vLLM has kernels for, under each head; the tests'
    tokenizer."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoints["qwen_prm"])
    torch.manual_seed(3)
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    labels = {"qwen_prm": 2, "token_prm": 2, "outcome": 1}
    made = {}
    for kind, head in HEADS.items():
        folder = made[kind] = tmp_path_factory.mktemp("real") / kind
        config = transformers.Qwen2Config(
            **sizes, num_key_value_heads=2, vocab_size=-(-len(tokenizer) // 64) * 64, max_position_embeddings=512,
            tie_word_embeddings=False, initializer_range=0.1, dtype="float32", num_labels=labels[kind],
        )  # fmt: skip
        getattr(transformers, f"AutoModelFor{head}").from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    _as_process_reward(made["qwen_prm"])
    return made


def _as_process_reward(folder):
    """transformers has no such class: two layers on the decoder, by their names in Qwen's checkpoints."""
    held = {name: value for name, value in load_file(folder / "model.safetensors").items() if name != "lm_head.weight"}
    head = {"score.0.weight": (256, 256), "score.0.bias": (256,), "score.2.weight": (2, 256), "score.2.bias": (2,)}
    held |= {name: torch.randn(shape) / 8 for name, shape in head.items()}
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["Qwen2ForProcessRewardModel"]}))


def rewards(spelled):
    root = Trajectory.at(Origin(Problem("p", "How much is 3 + 4?"), Prompt("Q"), "Q", (1,), 0, "s"))
    first = root.extend(Step("3 + 4 = 7\n", (1, 2)), 0)
    paths = [first, first.extend(Step("So the answer is: 7", (3,)), 0), root.extend(Step("It is 12\n", (4,)), 1)]
    reward = specs.parse("reward", spelled).open(RewardContext())
    try:
        return [value for own in reward.score(paths).rewards for value in own]
    finally:
        reward.close()


@pytest.mark.parametrize(
    ("kind", "pooler"),
    [("qwen_prm", "marks"), ("qwen_prm", "all"), ("token_prm", None), ("outcome", None)],
    ids=["qwen_prm-marks", "qwen_prm-all", "token_prm", "outcome"],
)
def test_a_heads_rewards_are_those_of_the_same_model_here(folders, kind, pooler):
    from transformers import AutoTokenizer

    folder = folders[kind]
    # By default vLLM shows the marks alone, by the id that they have in Qwen's own tokenizer.
    mark = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(MARK)
    poolers = {"marks": {"step_tag_id": mark}, "all": {"tok_pooling_type": "ALL"}}
    options = ["--pooler-config", json.dumps(poolers[pooler])] if pooler else []
    inner = f"{kind}({str(folder)!r}, dtype='float32')"
    with VllmServer(
        folder, "prm", "--runner", "pooling", "--dtype", "float32", "--max-model-len", "512", *options
    ) as url:
        served = rewards(f"served({url!r}, 'prm', {inner})")
    here = rewards(inner)
    assert served == pytest.approx(here, abs=1e-3)
    assert len(set(here)) > 1


@pytest.mark.parametrize("kind", ["rlhflow", "judge"])
def test_a_word_of_a_language_model_is_read_as_here(policy, kind):
    """One constrained token with log-probabilities; any instruction model can be asked for one of two words."""
    inner = f"{kind}({setting('ENGINES_MODEL', 'a model')!r}, dtype='bfloat16', cached=False)"
    served, here = rewards(f"served({policy.url!r}, 'policy', {inner})"), rewards(inner)
    # Logits of some 20 are an eighth apart in bfloat16, and a reward is the difference of two.
    assert [logit(value) for value in served] == pytest.approx([logit(value) for value in here], abs=0.3)
    assert len(set(here)) > 1
