"""What is refused: checkpoints of another kind, formats that cannot be read, texts that do not fit."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.errors import ModelError, RewardError, SpecError
from isoflop.rewards.base import RewardContext

KINDS = {
    "math_shepherd": "a language model",
    "rlhflow": "a language model",
    "skywork": "a language model with a value head",
    "qwen_prm": "a process reward model with a two-layer head",
    "token_prm": "a token classifier",
    "outcome": "a sequence classifier",
}


def opened(spec, folder, **options):
    told = "".join(f", {key}={value!r}" for key, value in options.items())
    return specs.parse("reward", f"{spec}({str(folder)!r}{told})").open(RewardContext())


def path(*steps, question="How much is 3 + 4?", problem="p", search="s"):
    node = Trajectory.at(Origin(Problem(problem, question), Prompt(), "", (1,), 0, search))
    for index, step in enumerate(steps):
        node = node.extend(Step(step, (1,)), index)
    return node


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", KINDS)
def test_a_checkpoint_of_another_kind_is_refused_with_the_spec_that_fits(checkpoints, spec, kind):
    if KINDS[spec] == KINDS[kind]:
        return
    fits = "math_shepherd, rlhflow or judge" if KINDS[kind] == "a language model" else kind
    with pytest.raises(ModelError) as refused:
        opened(spec, checkpoints[kind])
    assert f"is {KINDS[kind]} (" in str(refused.value)
    assert f"{spec}() reads {KINDS[spec]}; the spec that fits it is {fits}" in str(refused.value)


def test_code_of_a_checkpoint_is_never_run(checkpoints):
    """The folder's own modelling file would end the process."""
    assert (checkpoints["qwen_prm"] / "modeling_prm.py").is_file()
    assert json.loads((checkpoints["qwen_prm"] / "config.json").read_text())["auto_map"]
    opened("qwen_prm", checkpoints["qwen_prm"]).close()


def copy_of(folder, to):
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return to


def test_an_unknown_head_is_told_with_what_is_known(checkpoints, tmp_path):
    folder = copy_of(checkpoints["outcome"], tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForGatedRewards"]}))
    with pytest.raises(ModelError, match=r"LlamaForGatedRewards, whose head is not known here; .*\(skywork\)"):
        opened("outcome", folder)


def test_missing_weights_are_not_made_up(checkpoints, tmp_path):
    folder = copy_of(checkpoints["skywork"], tmp_path / "torn")
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "layers.1" not in k}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"lacks 12 of its decoder's tensors .* random weights"):
        opened("skywork", folder)


def test_folders_that_hold_no_model(tmp_path, checkpoints):
    with pytest.raises(ModelError, match="does not exist"):
        opened("skywork", tmp_path / "nowhere")
    adapter = copy_of(checkpoints["rlhflow"], tmp_path / "adapter")
    (adapter / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"neither model.safetensors nor pytorch_model.bin"):
        opened("rlhflow", adapter)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="LoRA adapter, no model: merge it"):
        opened("rlhflow", adapter)


def test_weights_in_pytorchs_own_format_and_in_parts(checkpoints, tmp_path):
    """The same numbers, saved as a single .bin and as two."""
    wanted = opened("skywork", checkpoints["skywork"]).score([path("3 + 4 = 7\n")]).rewards
    tensors = load_file(checkpoints["skywork"] / "model.safetensors")
    for parts in (1, 2):
        folder = copy_of(checkpoints["skywork"], tmp_path / str(parts))
        (folder / "model.safetensors").unlink()
        if parts == 1:
            torch.save(tensors, folder / "pytorch_model.bin")
        else:
            names = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(tensors)}
            for file in set(names.values()):
                torch.save({k: v for k, v in tensors.items() if names[k] == file}, folder / file)
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
        assert opened("skywork", folder).score([path("3 + 4 = 7\n")]).rewards == wanted


def test_a_tied_language_model_is_read_through_its_embeddings(checkpoints, tmp_path):
    folder = copy_of(checkpoints["rlhflow"], tmp_path / "tied")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    untied = opened("rlhflow", folder).score([path("7")]).rewards
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    assert opened("rlhflow", folder).score([path("7")]).rewards[0] == pytest.approx(untied[0], abs=1e-6)


def test_chat_formats_need_a_chat_template(checkpoints):
    with pytest.raises(ModelError, match="has no chat template, and this reward asks in turns"):
        opened("rlhflow", checkpoints["math_shepherd"])


def test_a_template_that_hides_or_refuses_turns_is_told(checkpoints, tmp_path):
    for name, template, law in (
        ("hides", "{{ messages[0].content }}", "shows 0 of 1 step marks"),
        ("refuses", "{{ raise_exception('no system role') }}", "refuses the turns system, user, assistant: no system"),
    ):
        folder = copy_of(checkpoints["qwen_prm"], tmp_path / name)
        (folder / "chat_template.jinja").write_text(template)
        with pytest.raises(ModelError, match=law):
            opened("qwen_prm", folder)


def test_words_that_the_tokenizer_does_not_tell_apart(checkpoints):
    with pytest.raises(ModelError, match=r"does not tell the words read apart: .* \(first token of each\)"):
        opened("judge", checkpoints["rlhflow"], correct="qx", incorrect="qz")


def test_a_class_that_is_not_there(checkpoints):
    with pytest.raises(ModelError, match="has 2 classes; positive=2 is none of 0 to 1"):
        opened("token_prm", checkpoints["token_prm"], positive=2)


@pytest.mark.parametrize(
    ("spec", "law"),
    [
        ("token_prm('x', separator='')", "has to have one"),
        ("token_prm('x', opening='Q:')", "does not hold {question}"),
        ("outcome('x', template='{question}')", "does not hold {solution}"),
        ("judge('x', prompt='{solution}')", "does not hold {question}"),
        ("judge('x', check_tokens=-1)", "check_tokens=-1"),
        ("skywork('x', memory_gb=0)", "more than 0"),
        ("skywork('x', context_tokens=0)", "at least 1"),
        ("ensemble([logprob()])", "at least two"),
        ("skywork()", "needs path"),
    ],
)
def test_specs_that_make_no_sense(spec, law):
    with pytest.raises(SpecError, match=law.replace("(", r"\(").replace("{", r"\{")):
        specs.parse("reward", spec)


def test_specs_are_parsed_and_spelled_without_a_model():
    for text in (
        "math_shepherd(path='a')",
        "token_prm(path='a', cached=False, separator='\\n\\n')",
        "judge(path='a', thinking='skip', check_tokens=64)",
        "ensemble(rewards=[qwen_prm(path='a'), logprob()], combine='min')",
    ):
        assert str(specs.parse("reward", text)) == text


@pytest.mark.parametrize("cached", [True, False])
def test_a_text_longer_than_the_context_is_an_error_that_names_problem_and_lengths(checkpoints, cached):
    reward = opened("skywork", checkpoints["skywork"], cached=cached)
    long = path(*["3 + 4 = 7 and more of it\n"] * 60, problem="p9")
    with pytest.raises(RewardError, match=r"problem 'p9': question and 60 steps are \d+ tokens .* its context is 512"):
        reward.score([path("7"), long])


def test_slots_that_do_not_fit(checkpoints):
    with pytest.raises(ModelError, match=r"one text of 512 tokens takes .* raise memory_gb or lower context_tokens"):
        opened("skywork", checkpoints["skywork"], memory_gb=1e-5)
    with pytest.raises(ModelError, match="context_tokens=600 is more than the reward model takes: 512"):
        opened("skywork", checkpoints["skywork"], context_tokens=600)


@pytest.mark.parametrize("cached", [True, False])
def test_logits_that_are_no_numbers_are_an_error_and_what_was_computed_is_paid_later(checkpoints, tmp_path, cached):
    """One token's embedding is broken: problems that hold it fail, the others go on and pay for themselves alone."""
    folder = copy_of(checkpoints["skywork"], tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    from transformers import AutoTokenizer

    [token] = AutoTokenizer.from_pretrained(folder).encode("?")
    tensors["model.embed_tokens.weight"][token] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    reward = opened("skywork", folder, cached=cached)
    good, bad = path("7", question="3 + 4", search="a"), path("7", question="3 + 4?", problem="p2", search="b")
    with pytest.raises(RewardError, match=r"problem 'p2': the reward model read \(nan,\) for step 1 of 1"):
        reward.score([good, bad])
    told = reward.score([good])
    assert 0 < told.rewards[0][0] < 1
    alone = opened("skywork", folder, cached=cached).score([good])
    times = 1 if cached else 2  # the naive twin has encoded it twice by now
    assert told.spent[0]["reward"].flops == times * alone.spent[0]["reward"].flops
