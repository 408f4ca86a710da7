"""The published study's recipes run on look-alikes of its checkpoints: the same files and names, random and tiny.

What is like the real ones: Mistral's architecture and kind of tokenizer; Quiet-STaR's thought tensors among the model's
own, sharded safetensors, two ids more; Math-Shepherd's weights in PyTorch's own format, its `ки` a piece of its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from isoflop.audit.audit import Audit
from isoflop.audit.from_run import read_run
from isoflop.cost.flops import Pricer
from isoflop.cost.known import CONFIGS
from isoflop.cost.published import MISTRAL_7B
from isoflop.cost.shape import load_shape
from isoflop.errors import ModelError
from isoflop.quietstar.cost import ThoughtPricer
from isoflop.rewards.head_folder import Head, save_head
from isoflop.studies.phantom import Assumptions
from isoflop.studies.plan import plan_study
from isoflop.studies.run import Run
from isoflop.studies.study_file import load_study

RECIPES = Path(__file__).parents[2] / "recipes"
WIDTH = 32
QUESTION = "Tom has 3 apples and buys 4 more. How many apples does Tom have?"
TEXT = [
    f"Q: {QUESTION}\nA: Let's think step by step.\n",
    "3 + 4 = 7\nTherefore, the answer (arabic numerals) is 7\n---\n",
]


def tokenizer(folder: Path) -> Any:
    """Pieces with a leading ▁, bytes for the rest, <s> in front: Mistral's kind."""
    found = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Split("\n", behavior="isolated")]
    )
    found.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=sorted({"▁", *map(chr, range(33, 127))}),
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    found.train_from_iterator([*TEXT, *["x ки y ки z ки + - "] * 20], trainer)
    found.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=found, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    wrapped.save_pretrained(folder)
    return wrapped


def mistral(folder: Path, more_ids: int = 0, seed: int = 0) -> Any:
    """A random model with its tokenizer in one folder."""
    torch.manual_seed(seed)
    vocabulary = len(tokenizer(folder)) + more_ids
    config = transformers.MistralConfig(
        hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=vocabulary, max_position_embeddings=512, sliding_window=256, initializer_range=0.3, dtype="float32",
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=None,
    )  # fmt: skip
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("look-alikes")
    found = {name: base / name for name in ("base", "quietstar", "prm", "head")}
    mistral(found["base"]).save_pretrained(found["base"])

    folder = found["quietstar"]
    mistral(folder, more_ids=2, seed=1).save_pretrained(folder, max_shard_size="60KB")
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "start_embedding": (2, WIDTH), "end_embedding": (2, WIDTH),
        "talk_head.0.0.weight": (WIDTH, 2 * WIDTH), "talk_head.0.0.bias": (WIDTH,),
        "talk_head.0.2.weight": (WIDTH, WIDTH), "talk_head.0.2.bias": (WIDTH,), "talk_head.0.4.weight": (1, WIDTH),
    }  # fmt: skip
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    last = sorted(set(index["weight_map"].values()))[-1]
    thoughts = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}
    save_file(load_file(folder / last) | thoughts, folder / last, {"format": "pt"})
    index["weight_map"] |= dict.fromkeys(thoughts, last)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    flags = {"use_concat_talk_head": True, "use_complex_talk_head": True, "use_weighted_talk_head": True}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | flags | {"use_shallow_talk": False, "max_thoughts": 10}))

    model = mistral(found["prm"], seed=2)
    model.config.save_pretrained(found["prm"])
    torch.save(model.state_dict(), found["prm"] / "pytorch_model.bin")

    save_head(found["head"], Head(torch.randn(1, WIDTH) / 8, torch.randn(1), str(folder)))
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"question": QUESTION.replace("3", str(n)), "answer": f"So it is {n} + 4.\n#### {n + 4}"} for n in (3, 5)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def variables(checkpoints: dict[str, Path], data: Path, recipe: str) -> dict[str, str]:
    names = ("quietstar", "prm", "head") if "mends" in recipe else ("base", "quietstar", "prm")
    short = {"max_tokens": "24", "solution_tokens": "18"}
    return {name: str(checkpoints[name]) for name in names} | short | {"data": str(data)}


@pytest.mark.parametrize("recipe", ["published-study.toml", "published-study-mends.toml"])
def test_every_arm_of_the_recipe_runs_on_look_alikes_and_is_audited(recipe, checkpoints, data, tmp_path):
    study = load_study(RECIPES / recipe, variables(checkpoints, data, recipe))
    run = Run.create(study, tmp_path / "run")
    run.execute()
    assert [record.message for record in run.attempts if record.failed] == []
    assert len(list(run.attempts)) == 2 * len(study.arms)
    published = [record for record in run.attempts if "published" in record.arm]
    assert published
    assert all("were cut and not closed" in record.message for record in published)
    thinking = {record.arm for record in run.attempts if "thought" in record.charged}
    assert thinking == {label for label in study.labels if study.arm(label).engine.spec_name == "quietstar"} - {
        "checkpoint without thoughts"
    }
    arms, left_out = read_run(run)
    assert left_out == []
    for arm in arms:
        assert arm.compute.ideal <= arm.compute.alone
        assert arm.compute.ideal < arm.compute.uncached
        assert 0 < arm.reported_flops < arm.compute.uncached
    assert len(Audit.of(arms, recipe).pairs) == len(arms) * (len(arms) - 1) // 2


def test_a_thinking_checkpoint_without_a_tokenizer_says_what_is_missing(checkpoints, data, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(checkpoints["quietstar"], bare)
    for file in bare.glob("tokenizer*"):
        file.unlink()
    given = variables(checkpoints, data, "study") | {"quietstar": str(bare)}
    study = load_study(RECIPES / "published-study.toml", given)
    with pytest.raises(ModelError, match=r"tokenizer"):
        Run.create(study, tmp_path / "run").execute()


def test_the_plan_needs_neither_weights_nor_network(data):
    study = load_study(RECIPES / "published-study.toml", {"data": str(data)})
    assumed = Assumptions(solution_tokens=292, prompt_tokens=80)
    plan = {arm.label: arm for arm in plan_study(study, assumptions=assumed).arms}
    pricer = Pricer(MISTRAL_7B)
    vote = pricer.prefill(0, 80) + 6 * pricer.decode(80, 291)
    assert plan["baseline"].flops_per_attempt == vote
    thoughts = ThoughtPricer(Pricer(load_shape("ezelikman/quietstar-8-ahead")), 8)
    quiet = plan["quiet-star"].flops_per_attempt - plan["checkpoint without thoughts"].flops_per_attempt
    assert quiet == pytest.approx(6 * thoughts.cost(80, 292).flops)
    assert all(arm.reward_priced for arm in plan.values())
    assert plan["rebase 6"].flops_per_attempt > 1.8 * plan["baseline"].flops_per_attempt  # it reads what it scores
    assert plan["quiet-star + rebase"].flops_per_attempt < 0.4 * plan["quiet-star"].flops_per_attempt
    # By the published rules nearly every cut is an answer: fewer tokens, whatever else is wrong with them.
    assert plan["published: rebase 6"].flops_per_attempt < 0.6 * plan["rebase 6"].flops_per_attempt


def test_known_configs_are_those_of_mistral_and_two_ids_more():
    shapes = {name: load_shape(name) for name in CONFIGS}
    assert {name: shape.parameters for name, shape in shapes.items()} == {
        "mistralai/Mistral-7B-v0.1": 7_241_732_096,
        "ezelikman/quietstar-8-ahead": 7_241_732_096 + 2 * 2 * 4096,
        "peiyi9979/math-shepherd-mistral-7b-prm": 7_241_732_096,
    }
    with pytest.raises(ModelError, match="neither a folder"):
        load_shape("mistralai/Mistral-7B-v0.2")


def test_the_mends_cost_what_the_documentation_says(data):
    """docs/the-published-study.md, its last column."""
    study = load_study(RECIPES / "published-study-mends.toml", {"data": str(data)})
    plan = plan_study(study, assumptions=Assumptions(solution_tokens=292, prompt_tokens=80))
    text = (RECIPES.parent / "docs" / "the-published-study.md").read_text()
    table = text[text.index("| | mend |") :].split("\n\n")[0].splitlines()[2:]
    told = {cells[2].strip(): float(cells[5]) for cells in (line.split("|") for line in table)}
    for arm in plan.arms:
        mend = arm.label[2:] if arm.label[1] == " " else arm.label
        assert arm.flops_per_attempt / 1e12 == pytest.approx(told[mend], rel=0.01), arm.label
    assert told["cached thoughts"] == told["learned vectors"]
