"""Every public reward model against a direct forward written from its authors' recipe, with transformers alone."""

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from isoflop import specs
from isoflop.asking import Prompt
from isoflop.core import Channel, Origin, Problem, Step, StepEnd, Trajectory
from isoflop.rewards.base import RewardContext

QUESTION = "Janet has 3 apples and buys 4 more. How many apples does she have?"
STEPS = ["She has 3 apples.\n", "3 + 4 = 7\n", "The answer is: 7"]
AWKWARD = {
    "plain": STEPS,
    "one": STEPS[:1],
    "empty steps": ["She has 3.\n", "\n", "", "so 7"],
    "left-over white space": ["  She has 3. \n\n", "\t3 + 4 = 7 \n", " 7  "],
    "odd characters": ["3 ×\u00a04 = 🙂\r\n", "<|im_end|>\u200b<｜end▁of▁sentence｜>\u2028\n", "\\boxed{7} é漢\n\n\n"],
    "braces and marks": ["{solution} {question} {mark}\n", "+ or - ?\n", "<extra_0> + <extra_0>\n", "7"],
}
CLOSE = {"rel": 0, "abs": 1e-5}


def path(steps, question=QUESTION, search="s"):
    node = Trajectory.at(Origin(Problem("p", question), Prompt(), "the policy's own prompt", (1, 2), 0, search))
    for index, step in enumerate(steps):
        node = node.extend(step if isinstance(step, Step) else Step(step, (1,)), index)
    return node


def scored(spec, *steps, **options):
    """Rewards and logits of each list of steps, with keys and values kept and without: they have to agree."""
    told = []
    for cached in (True, False):
        reward = specs.parse("reward", spec[:-1] + f", cached={cached})").open(RewardContext())
        told.append(reward.score([path(each, **options) for each in steps]))
        reward.close()
    for kept, anew in zip(told[0].rewards, told[1].rewards, strict=True):
        assert kept == pytest.approx(anew, **CLOSE)
    return told[1]


def loaded(kind, folder):
    return AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder).eval()


def forward(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]))


@pytest.fixture(params=AWKWARD, ids=list(AWKWARD))
def steps(request):
    return AWKWARD[request.param]


def shepherd_direct(folder, steps):
    """The model card: tags in the text, logits of + and - where the tag stands."""
    tokenizer, model = loaded(AutoModelForCausalLM, folder)
    good_and_bad = tokenizer.encode("+ -")[1:]
    tag = tokenizer.encode("ки")[-1]
    output = "\n".join(f"Step {i}: {step.strip()} ки" for i, step in enumerate(steps, 1))
    ids = tokenizer.encode(f"{QUESTION} {output}")
    assert tokenizer.convert_ids_to_tokens(tag) == "▁ки"
    scores = forward(model, ids).logits[0][:, good_and_bad].softmax(-1)[:, 0]
    return scores[torch.tensor(ids) == tag].tolist()


def test_math_shepherd(checkpoints, steps):
    folder = checkpoints["math_shepherd"]
    direct = shepherd_direct(folder, steps)
    assert scored(f"math_shepherd({str(folder)!r})", steps).rewards[0] == pytest.approx(direct, **CLOSE)


def test_math_shepherd_reads_its_own_marks_and_not_those_in_a_step(checkpoints):
    folder = checkpoints["math_shepherd"]
    direct = shepherd_direct(folder, ["the tag ки is here ки", "so 7"])
    assert len(direct) == 4
    told = scored(f"math_shepherd({str(folder)!r})", ["the tag ки is here ки", "so 7"])
    assert told.rewards[0] == pytest.approx(direct[2:], **CLOSE)


def test_math_shepherd_leaves_labels_alone_that_the_policy_wrote(checkpoints):
    spec = f"math_shepherd({str(checkpoints['math_shepherd'])!r})"
    labelled, bare = scored(spec, ["Step 1: 3 + 4\n", "Step 2: 7"], ["3 + 4\n", "7"]).rewards
    assert labelled == bare


def test_a_mark_that_the_tokenizer_splits_is_read_at_its_end(checkpoints):
    """The byte-level tokenizer has no piece for the tag: four of bytes make it."""
    folder = checkpoints["rlhflow"]
    tokenizer, model = loaded(AutoModelForCausalLM, folder)
    assert len(tokenizer.encode("ки")) == 4
    text, ends = QUESTION + " ", []
    for i, step in enumerate(STEPS, 1):
        text += f"{'' if i == 1 else chr(10)}Step {i}: {step.strip()} ки"
        ends.append(len(tokenizer.encode(text)) - 1)
    words = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
    direct = forward(model, tokenizer.encode(text)).logits[0][ends][:, words].softmax(-1)[:, 0].tolist()
    assert scored(f"math_shepherd({str(folder)!r})", STEPS).rewards[0] == pytest.approx(direct, **CLOSE)


def test_rlhflow(checkpoints, steps):
    """The authors' script: a conversation per step, + and - three positions before its end."""
    folder = checkpoints["rlhflow"]
    tokenizer, model = loaded(AutoModelForCausalLM, folder)
    words = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
    conversation, direct = [], []
    for i, step in enumerate(steps):
        text = f"{QUESTION} {step.strip()}" if i == 0 else step.strip()
        conversation += [{"role": "user", "content": text}, {"role": "assistant", "content": "+"}]
        ids = tokenizer.apply_chat_template(conversation, return_dict=False)
        direct.append(forward(model, ids).logits[0, -3, words].softmax(-1)[0].item())
    assert scored(f"rlhflow({str(folder)!r})", steps).rewards[0] == pytest.approx(direct, **CLOSE)


def skywork_direct(folder, question, lines):
    """The authors' `prepare_input`: every line encoded by itself, a newline token behind it, read there."""
    tokenizer, model = loaded(AutoModelForCausalLM, folder)
    head = load_file(folder / "model.safetensors")
    newline = tokenizer.encode("\n")[-1]
    ids, flags = tokenizer.encode(tokenizer.bos_token + question + "\n"), []
    for line in lines:
        ids += [*(tokenizer.encode(line) if line else []), newline]
        flags.append(len(ids) - 1)
    with torch.no_grad():
        hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
    values = hidden @ head["v_head.summary.weight"].T + head["v_head.summary.bias"]
    return torch.sigmoid(values[flags, 0]).tolist()


@pytest.mark.parametrize(
    "lines",
    [["3 apples", " 4 more ", "", "7"], ["7"], ["3 ×\u00a04 = 🙂\r", "<|im_end|>\u2028"], ["{bos} a\\b", "\t7"]],
)
def test_skywork(checkpoints, lines):
    folder = checkpoints["skywork"]
    steps = [line + "\n" for line in lines]
    direct = skywork_direct(folder, QUESTION, lines)
    assert scored(f"skywork({str(folder)!r})", steps).rewards[0] == pytest.approx(direct, **CLOSE)


def test_skywork_reads_a_step_of_several_lines_at_its_last(checkpoints):
    folder = checkpoints["skywork"]
    direct = skywork_direct(folder, QUESTION, ["She has 3.", "", "She buys 4.", "7"])
    told = scored(f"skywork({str(folder)!r})", ["She has 3.\n\nShe buys 4.\n", "7"])
    assert told.rewards[0] == pytest.approx(direct[2:], **CLOSE)


def qwen_direct(folder, steps):
    """The model card, with the two layers that its remote code has."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
    t = load_file(folder / "model.safetensors")
    messages = [
        {"role": "system", "content": "Please reason step by step, and put your final answer within \\boxed{}."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "<extra_0>".join(step.strip() for step in steps) + "<extra_0>"},
    ]
    ids = tokenizer.encode(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False))
    hidden = forward(model, ids).last_hidden_state[0]
    inner = torch.relu(hidden @ t["score.0.weight"].T + t["score.0.bias"])
    chances = (inner @ t["score.2.weight"].T + t["score.2.bias"]).softmax(-1)[:, 1]
    return chances[torch.tensor(ids) == tokenizer.encode("<extra_0>")[0]].tolist()


def test_qwen_prm(checkpoints, steps):
    folder = checkpoints["qwen_prm"]
    direct = qwen_direct(folder, steps)
    if "<extra_0>" in "".join(steps):  # the third step holds two marks: those are text
        direct = [*direct[:2], direct[4], direct[5]]
    assert scored(f"qwen_prm({str(folder)!r})", steps).rewards[0] == pytest.approx(direct, **CLOSE)


@pytest.mark.parametrize("separator", ["\n", "\n\n", " ки"])
def test_token_prm_as_trl_trains_it(checkpoints, steps, separator):
    """TRL's `tokenize_row`: bos, prompt, then each completion and the separator, all tokenized apart."""
    folder = checkpoints["token_prm"]
    tokenizer, model = loaded(AutoModelForTokenClassification, folder)
    behind = tokenizer.encode(separator, add_special_tokens=False)
    ids = [tokenizer.bos_token_id, *tokenizer(QUESTION, add_special_tokens=False)["input_ids"]]
    labelled = []
    for step in steps:
        ids += tokenizer(step.strip(), add_special_tokens=False)["input_ids"] + behind
        labelled.append(len(ids) - 1)
    direct = forward(model, ids).logits[0][labelled].softmax(-1)[:, 1].tolist()
    told = scored(f"token_prm({str(folder)!r}, separator={separator!r})", steps)
    assert told.rewards[0] == pytest.approx(direct, **CLOSE)
    swapped = scored(f"token_prm({str(folder)!r}, separator={separator!r}, positive=0)", steps)
    assert swapped.rewards[0] == pytest.approx([1 - each for each in direct], **CLOSE)


def outcome_direct(folder, solution):
    tokenizer, model = loaded(AutoModelForSequenceClassification, folder)
    chat = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": solution.strip()}]
    ids = tokenizer.apply_chat_template(chat, return_dict=False)
    return torch.sigmoid(forward(model, ids).logits[0, 0]).item()


def test_outcome_judges_every_prefix(checkpoints, steps):
    folder = checkpoints["outcome"]
    direct = [outcome_direct(folder, "".join(steps[:end])) for end in range(1, len(steps) + 1)]
    assert scored(f"outcome({str(folder)!r})", steps).rewards[0] == pytest.approx(direct, **CLOSE)


def test_outcome_of_complete_solutions_alone(checkpoints, steps):
    folder = checkpoints["outcome"]
    told = scored(f"outcome({str(folder)!r}, each_step=False)", steps)
    assert told.rewards[0] == pytest.approx([outcome_direct(folder, "".join(steps))] * len(steps), **CLOSE)
    assert not specs.parse("reward", f"outcome({str(folder)!r}, each_step=False)").open(RewardContext()).guides_search


def test_outcome_passes_over_padding_at_the_end_as_transformers_does(checkpoints, tmp_path):
    tokenizer, model = loaded(AutoModelForSequenceClassification, checkpoints["outcome"])
    model.config.pad_token_id = tokenizer.eos_token_id
    for part in (tokenizer, model):
        part.save_pretrained(tmp_path)
    direct = outcome_direct(tmp_path, "".join(STEPS))
    assert direct != pytest.approx(outcome_direct(checkpoints["outcome"], "".join(STEPS)), **CLOSE)
    assert scored(f"outcome({str(tmp_path)!r})", STEPS).rewards[0][-1] == pytest.approx(direct, **CLOSE)


def test_outcome_with_a_template_of_ones_own(checkpoints):
    folder = checkpoints["outcome"]
    tokenizer, model = loaded(AutoModelForSequenceClassification, folder)
    ids = tokenizer.encode(f"Q: {QUESTION}\nA: {''.join(STEPS)}")
    direct = torch.sigmoid(forward(model, ids).logits[0, 0]).item()
    told = scored(f"outcome({str(folder)!r}, template='Q: {{question}}\\nA: {{solution}}')", STEPS)
    assert told.rewards[0][-1] == pytest.approx(direct, **CLOSE)
    assert told.logits[0][-1] == pytest.approx([torch.logit(torch.tensor(direct)).item()], abs=1e-4)


def test_judge_asks_for_one_word(checkpoints, steps):
    folder = checkpoints["rlhflow"]
    tokenizer, model = loaded(AutoModelForCausalLM, folder)
    words = [tokenizer.encode("Yes")[0], tokenizer.encode("No")[0]]
    direct = []
    for end in range(1, len(steps) + 1):
        content = f"{QUESTION} | {''.join(steps[:end]).strip()} | right?"
        chat = [{"role": "user", "content": content}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        direct.append(forward(model, ids).logits[0, -1, words].softmax(-1)[0].item())
    spec = f"judge({str(folder)!r}, prompt='{{question}} | {{solution}} | right?')"
    assert scored(spec, steps).rewards[0] == pytest.approx(direct, **CLOSE)


@pytest.mark.parametrize("ends", [False, True])
def test_judge_writes_a_check_first(checkpoints, ends, tmp_path):
    """Against `generate` and a second forward over everything written."""
    tokenizer, model = loaded(AutoModelForCausalLM, checkpoints["rlhflow"])
    chat = [{"role": "user", "content": f"{QUESTION} {STEPS[0].strip()}"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    sees = torch.ones(1, len(ids), dtype=torch.int64)
    greedy = model.generate(torch.tensor([ids]), attention_mask=sees, max_new_tokens=8, do_sample=False, pad_token_id=0)
    check = greedy[0].tolist()[len(ids) :]
    assert tokenizer.eos_token_id not in check
    if ends:
        model.config.eos_token_id = check[5]
        check = check[: check.index(check[5])]
    for part in (tokenizer, model):
        part.save_pretrained(tmp_path)
    written = ids + check
    verdict = tokenizer("\n\nAre all steps correct?\n", add_special_tokens=False)["input_ids"]
    words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No")]
    direct = forward(model, written + verdict).logits[0, -1, words].softmax(-1)[0].item()
    spec = f"judge({str(tmp_path)!r}, prompt='{{question}} {{solution}}', check_tokens=8)"
    assert scored(spec, STEPS[:1]).rewards[0] == pytest.approx([direct], **CLOSE)


@pytest.mark.parametrize("name", ["mistral_window", "gemma2", "gemma3", "qwen3_moe"])
def test_other_architectures(tiny_models, name):
    """Sliding windows shorter than the text, soft caps, experts."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_models[name])
    model = AutoModelForCausalLM.from_pretrained(tiny_models[name], attn_implementation="eager").eval()
    ids = tokenizer.encode(f"[user] {QUESTION} {STEPS[0].strip()}\n[assistant] ")
    words = [tokenizer.encode(word)[0] for word in ("Yes", "No")]
    direct = forward(model, ids).logits[0, -1, words].softmax(-1)[0].item()
    spec = f"judge({str(tiny_models[name])!r}, prompt='{{question}} {{solution}}')"
    assert scored(spec, STEPS[:1]).rewards[0] == pytest.approx([direct], **CLOSE)


def test_thinking_steps_are_shown_or_skipped(checkpoints):
    """Skipped ones carry the reward before them; those at the start get that of an empty solution."""
    folder = checkpoints["math_shepherd"]
    think = Step("<think>\nhm 3\n</think>\n", (1,), channel=Channel.THINK)
    latent = Step("never shown", (1,), channel=Channel.LATENT)
    steps = [think, STEPS[0], latent, STEPS[1]]
    spec = f"math_shepherd({str(folder)!r})"
    shown = shepherd_direct(folder, [think.text, STEPS[0], STEPS[1]])
    assert scored(spec, steps).rewards[0] == pytest.approx([shown[0], shown[1], shown[1], shown[2]], **CLOSE)
    visible, empty = shepherd_direct(folder, STEPS[:2]), shepherd_direct(folder, [""])
    skipped = scored(spec[:-1] + ", thinking='skip')", steps, [think]).rewards
    assert skipped[0] == pytest.approx([*empty, visible[0], visible[0], visible[1]], **CLOSE)
    assert skipped[1] == pytest.approx(empty, **CLOSE)


def test_a_prefix_has_the_same_rewards_as_the_whole(checkpoints):
    for name, folder in checkpoints.items():
        whole, part = scored(f"{name}({str(folder)!r})", STEPS, STEPS[:2]).rewards
        assert whole[:2] == pytest.approx(part, **CLOSE), name


def test_the_policys_tokens_and_prompt_do_not_matter(checkpoints):
    spec = f"qwen_prm({str(checkpoints['qwen_prm'])!r})"
    reward = specs.parse("reward", spec).open(RewardContext())
    one = Trajectory.at(Origin(Problem("p", QUESTION), Prompt(), "a", (1,), 0, "s")).extend(Step("7", (5, 6)), 0)
    two = Trajectory.at(Origin(Problem("p", QUESTION), Prompt(), "b", (9, 9), 3, "t")).extend(
        Step("7", (8,), end=StepEnd.END), 0
    )
    first, second = reward.score([one, two]).rewards
    assert first == pytest.approx(second, **CLOSE)


def test_raw_logits_are_kept(checkpoints):
    folder = checkpoints["token_prm"]
    told = scored(f"token_prm({str(folder)!r})", STEPS, STEPS[:1])
    for rewards, logits in zip(told.rewards, told.logits, strict=True):
        assert len(rewards) == len(logits)
        chances = [torch.tensor(each).softmax(-1)[1].item() for each in logits]
        assert rewards == pytest.approx(chances, **CLOSE)
    assert told.part(1, 2).logits == told.logits[1:]
    assert all(one != other for one, other in pairwise(told.rewards[0]))
