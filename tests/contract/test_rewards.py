"""The contract that every reward keeps, alone and inside a real driver with real books."""

import json
import math
from dataclasses import replace

import pytest
import torch
from fake_rewards import FakeRewards
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Markers, Prompt, SamplingParams
from isoflop.core import Channel, Origin, Problem, Step, Stop, Trajectory
from isoflop.cost.ledger import Budget
from isoflop.engines.base import Capabilities
from isoflop.engines.scripted import Scripted
from isoflop.engines.wrapped import Wrapped
from isoflop.rewards.base import RewardContext
from isoflop.rewards.head_folder import Head, Standardised, save_head
from isoflop.rewards.models import load_scoring_model
from isoflop.search.drive import drive
from isoflop.search.job import Job

REWARDS = {
    "logprob": "logprob()",
    "random": "random(seed=3)",
    "oracle": "oracle()",
    "math_shepherd": "math_shepherd('{llama}')",
    "rlhflow": "rlhflow('{llama}')",
    "skywork": "skywork('{value}')",
    "qwen_prm": "qwen_prm('{process}')",
    "qwen_prm, naive": "qwen_prm('{process}', cached=False)",
    "qwen_prm, few slots": "qwen_prm('{process}', context_tokens=256, memory_gb=0.0002)",
    "token_prm": "token_prm('{token}')",
    "outcome": "outcome('{sequence}')",
    "outcome, whole": "outcome('{sequence}', each_step=False)",
    "served": "served('{server}', 'prm', qwen_prm('{process}'))",
    "trunk": "trunk('{head}')",
    "trunk, features": "trunk('{weighing}')",
    "judge": "judge('{llama}', prompt='{{question}} {{solution}} ?')",
    "judge, writing": "judge('{llama}', prompt='{{question}} {{solution}} ?', check_tokens=3)",
    "ensemble": "ensemble([logprob(), skywork('{value}'), token_prm('{token}', positive=0)], combine='product')",
    "ensemble of a trunk": "ensemble([logprob(), trunk('{head}')])",
    "noisy": "noisy(skywork('{value}'), sigma=2.0)",
    "noisy trunk": "noisy(trunk('{head}'), sigma=0.5, seed=1)",
}
ELSEWHERE = {"imported"}  # no reward of a tree: it repeats what others' files say of whole samples
WHOLE = {"outcome, whole"}
CONTEXT = RewardContext(is_correct=lambda node: "7" in node.text, step_is_correct=lambda node: "8" not in node.text)
LINES = ["3 + 4 = 7\n", "So 8\n", "The answer is 7.\n"]


@pytest.fixture(scope="module")
def folders(tiny_llama_folder, tmp_path_factory):
    """The tiny Llama under every head."""
    base = tmp_path_factory.mktemp("heads")
    made = {"llama": tiny_llama_folder}
    torch.manual_seed(1)
    for name, kind in (("token", AutoModelForTokenClassification), ("sequence", AutoModelForSequenceClassification)):
        kind.from_pretrained(tiny_llama_folder, num_labels=2).save_pretrained(base / name)
    tensors = load_file(tiny_llama_folder / "model.safetensors")
    width = tensors["lm_head.weight"].shape[1]
    heads = {
        "value": {"v_head.summary.weight": (1, width), "v_head.summary.bias": (1,)},
        "process": {
            "score.0.weight": (width, width),
            "score.0.bias": (width,),
            "score.2.weight": (2, width),
            "score.2.bias": (2,),
        },
    }
    config = json.loads((tiny_llama_folder / "config.json").read_text())
    for name, head in heads.items():
        (base / name).mkdir()
        own = {key: torch.randn(shape) / 4 for key, shape in head.items()}
        save_file({**tensors, **own}, base / name / "model.safetensors", metadata={"format": "pt"})
        (base / name / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForRewards"]}))
    features = Standardised(torch.tensor([2.0, -1.0]), torch.tensor([-0.5, -2.0]), torch.tensor([0.25, 0.5]))
    for name, own in (("head", None), ("weighing", features)):
        made[name] = base / name
        save_head(made[name], Head(torch.randn(1, width), torch.randn(1), "llama", own))
    for name in ("token", "sequence", *heads):
        AutoTokenizer.from_pretrained(tiny_llama_folder).save_pretrained(base / name)
        made[name] = base / name
    prm = specs.parse("reward", f"qwen_prm({str(base / 'process')!r})")
    tokenizer = AutoTokenizer.from_pretrained(base / "process")
    options = {"asked_by": "qwen_prm", "dtype": "auto", "device": "cpu"}
    with FakeRewards(load_scoring_model(prm.path, prm.readout(), tokenizer, **options)) as server:
        yield made | {"server": server.url}


@pytest.fixture(params=REWARDS)
def case(request):
    return request.param


@pytest.fixture
def reward(case, folders):
    opened = specs.parse("reward", REWARDS[case].format(**folders)).open(CONTEXT)
    yield opened
    opened.close()
    opened.close()


def root(search="s", question="How much is 3 + 4?"):
    return Trajectory.at(Origin(Problem(f"p-{search}", question, "7"), Prompt(), "q", (1,) * 9, 0, search))


def grow(node, text, index=0, channel=Channel.VISIBLE):
    return node.extend(Step(text, (1, 2, 3), (-0.1, -0.2, -0.3), channel=channel, readouts=read(text)), index)


def read(text):
    return (len(text) / 9 - 1,)


class Reading(Wrapped):
    """An engine without hidden states that says it read them."""

    def __init__(self, inner, head):
        super().__init__(inner)
        self.capabilities = Capabilities(readout=head)

    def poll(self):
        return [
            replace(reply, steps=tuple(replace(step, readouts=read(step.text)) for step in reply.steps))
            for reply in super().poll()
        ]


def fork(search="s"):
    one = grow(root(search), LINES[0])
    return [grow(grow(one, LINES[1], 0), LINES[2]), grow(grow(one, LINES[2], 1), LINES[1]), one, root(search)]


def flops(scores):
    return [sum(cost.flops for cost in spent.values()) for spent in scores.spent]


def close(one, other):
    for first, second in zip(one, other, strict=True):
        assert first == pytest.approx(second, rel=0, abs=1e-5)


def test_every_registered_reward_is_held_to_the_contract():
    assert {text.partition("(")[0] for text in REWARDS.values()} | ELSEWHERE == set(specs.names("reward"))


def test_a_number_in_0_1_for_every_step(reward):
    nodes = fork()
    scores = reward.score(nodes)
    assert [len(each) for each in scores.rewards] == [3, 3, 1, 0]
    assert all(0 <= each <= 1 and math.isfinite(each) for path in scores.rewards for each in path)
    assert len(scores.spent) in (0, len(nodes))
    if scores.logits:
        assert [len(each) for each in scores.logits] == [3, 3, 1, 0]


def test_a_step_keeps_its_reward_as_the_path_grows(reward, case):
    if case in WHOLE:
        return
    first, second, one, _ = reward.score(fork()).rewards
    close([first[:1], second[:1]], [one, one])


def test_the_same_again_and_among_neighbours(reward):
    alone = reward.score(fork("a"))
    crowd = reward.score([*fork("b"), *fork("a"), *fork("c")])
    close(crowd.part(4, 8).rewards, alone.rewards)
    reward.release("a")
    reward.release("never seen")
    close(reward.score(fork("a")).rewards, alone.rewards)


def test_think_steps_and_latent_steps_have_rewards_too(reward):
    node = grow(root(), "<think>hm</think>\n", channel=Channel.THINK)
    node = grow(grow(node, "hidden", channel=Channel.LATENT), LINES[0])
    [rewards] = reward.score([node]).rewards
    assert len(rewards) == 3
    assert all(0 <= each <= 1 for each in rewards)


def test_the_price_covers_what_a_child_costs(reward):
    node = root()
    for text in LINES:
        foreseen = reward.price(node, len(text))
        node = grow(node, text)
        assert sum(flops(reward.score([node]))) <= foreseen


SAMPLING = SamplingParams(max_tokens=120)
GRADER = MathGrader(fallback=None)


def searched(reward, strategy, budget=None, names="ab"):
    parsed = specs.parse("strategy", strategy)
    problems = [Problem(name, f"How much is {name}?", "4") for name in names]
    prompts = [Prompt(text=problem.question + "\n", markers=Markers()) for problem in problems]
    jobs = [
        [Job(problem.id, problem, prompt, parsed, SAMPLING, 0, GRADER, reward, budget or Budget())]
        for problem, prompt in zip(problems, prompts, strict=True)
    ]
    engine = Reading(Scripted(steps=2).open(), reward.head)
    return {attempt.key: attempt for attempt in drive(jobs, engine)}


def test_in_a_search_it_is_paid_once_and_under_its_own_role(reward):
    strategy = "rebase(width=3)" if reward.guides_search else "best_of_n(n=3)"
    told, score = [], reward.score
    reward.score = lambda nodes: told.append(score(nodes)) or told[-1]
    attempts = searched(reward, strategy)
    assert {attempt.stop for attempt in attempts.values()} == {Stop.FINISHED}
    for book in ("spent", "charged"):
        booked = sum(getattr(a, book)["reward"].flops for a in attempts.values() if "reward" in a.charged)
        assert booked == sum(cost.flops for scores in told for paid in getattr(scores, book) for cost in paid.values())


def test_a_budget_is_kept_with_the_reward_in_it(reward):
    strategy = "rebase(width=3)" if reward.guides_search else "best_of_n(n=3)"
    free = searched(reward, strategy, names="a")["a"]
    whole = sum(cost.flops for cost in free.charged.values())
    for share in (0.3, 0.7, 1.5):
        attempt = searched(reward, strategy, Budget(flops=whole * share), names="a")["a"]
        assert sum(cost.flops for cost in attempt.charged.values()) <= whole * share
