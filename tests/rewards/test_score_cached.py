"""The cached scorer against its naive twin, and both against torch's own count of FLOPs."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.asking import Prompt, SamplingParams
from isoflop.core import Origin, Problem, Step, Trajectory
from isoflop.engines.scripted import Scripted
from isoflop.rewards.base import RewardContext
from isoflop.search.drive import drive
from isoflop.search.job import Job

SPECS = {
    "math_shepherd": "math_shepherd({!r})",
    "rlhflow": "rlhflow({!r})",
    "skywork": "skywork({!r})",
    "qwen_prm": "qwen_prm({!r})",
    "token_prm": "token_prm({!r})",
    "outcome": "outcome({!r})",
    "judge": "judge({!r}, prompt='{{question}} {{solution}} right?')",
}
GRADER = MathGrader(fallback=None)
LINES = ["She has 3 apples.\n", "3 + 4 = 7\n", "12 - 5 = 7\n", "So she has 7.\n", "\n", "The answer is: 7\n"]


def opened(name, checkpoints, **options):
    folder = str(checkpoints["rlhflow" if name == "judge" else name])
    told = "".join(f", {key}={value!r}" for key, value in options.items())
    return specs.parse("reward", SPECS[name].format(folder)[:-1] + told + ")").open(RewardContext())


def root(search="s", question="How many apples?"):
    return Trajectory.at(Origin(Problem(f"p-{search}", question), Prompt(), "", (1,), 0, search))


def grow(node, text, index=0):
    return node.extend(Step(text, (1,) * 4), index)


def tree(seed=0, search="s", depth=3, width=2, keep=4):
    """The levels of a search: every call of the reward is one of them."""
    draw = random.Random(f"{seed}{search}")
    levels, nodes = [], [root(search, f"How many apples has {search}?")]
    for _ in range(depth):
        grown = [grow(node, draw.choice(LINES), i) for node in nodes for i in range(width)]
        levels.append(grown)
        nodes = draw.sample(grown, min(keep, len(grown)))
    return levels


def flops(scores):
    return sum(cost.flops for spent in scores.spent for cost in spent.values())


def tokens(scores):
    return sum(cost.prompt_tokens for spent in scores.spent for cost in spent.values())


def same(one, other):
    for first, second in zip(one.rewards, other.rewards, strict=True):
        assert first == pytest.approx(second, rel=0, abs=1e-5)


@pytest.mark.parametrize("name", SPECS)
class TestEveryFormat:
    def test_same_rewards_as_the_naive_twin_for_far_fewer_tokens(self, checkpoints, name):
        cached, naive = opened(name, checkpoints), opened(name, checkpoints, cached=False)
        spent, twin, passages = 0, 0, set()
        for level in tree():
            kept, anew = cached.score(level), naive.score(level)
            same(kept, anew)
            spent, twin = spent + flops(kept), twin + flops(anew)
            passages |= {passage.tokens for node in level for passage in cached._asked(node).passages}
            assert sum(cost["reward"].naive_flops for cost in kept.spent) == flops(anew)
        assert spent < twin / 2
        # Never twice: as many tokens as there are different prefixes.
        prefixes = {passage[:end] for passage in passages for end in range(1, len(passage) + 1)}
        again = tree()
        fresh = opened(name, checkpoints)
        assert sum(tokens(fresh.score(level)) for level in again) <= len(prefixes)

    def test_what_was_scored_costs_nothing_more(self, checkpoints, name):
        reward = opened(name, checkpoints)
        levels = tree()
        first = reward.score(levels[-1])
        again = reward.score(levels[-1])
        assert again.rewards == first.rewards
        assert flops(again) == 0
        assert flops(reward.score([node.parent for node in levels[-1]])) == 0

    def test_searches_share_forwards_and_nothing_else(self, checkpoints, name):
        together, alone = opened(name, checkpoints), [opened(name, checkpoints) for _ in range(2)]
        for one, two in zip(tree(search="a"), tree(search="b"), strict=True):
            both = together.score([*one, *two])
            for part, reward, level in (
                (both.part(0, len(one)), alone[0], one),
                (both.part(len(one), 99), alone[1], two),
            ):
                own = reward.score(level)
                same(part, own)
                assert flops(part) == flops(own)

    def test_the_naive_twin_costs_exactly_what_torch_counts(self, checkpoints, name):
        reward = opened(name, checkpoints, cached=False)
        reward.scorer.model.set_attn_implementation("eager")
        with FlopCounterMode(display=False) as counter:
            scores = reward.score(tree()[2])
        assert counter.get_total_flops() == sum(cost["reward"].executed_flops for cost in scores.spent)

    def test_the_cached_one_too(self, checkpoints, name):
        reward = opened(name, checkpoints)
        for level in tree():
            # torch does not count its fused CPU kernel; the plain one multiplies the same.
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
                scores = reward.score(level)
            assert counter.get_total_flops() == sum(c.executed_flops for s in scores.spent for c in s.values())

    def test_prices_bound_what_a_child_then_costs(self, checkpoints, name):
        for cached in (True, False):
            reward = opened(name, checkpoints, cached=cached)
            node = root()
            for text in LINES:
                child = grow(node, text)
                # A policy with the same tokenizer; never less than a few tokens a step.
                length = max(4, len(reward.encoder.tokenizer(text)["input_ids"]))
                foreseen = reward.price(node, length)
                assert flops(reward.score([child])) <= foreseen
                node = child


@pytest.mark.parametrize("check_tokens", [1, 5])
def test_a_written_check_costs_exactly_what_torch_counts(checkpoints, check_tokens):
    reward = opened("judge", checkpoints, check_tokens=check_tokens)
    reward.scorer.model.set_attn_implementation("eager")
    child = grow(root(), "3 + 4 = 7\n")
    with FlopCounterMode(display=False) as counter:
        [spent] = reward.score([child]).spent
    assert counter.get_total_flops() == spent["reward"].executed_flops
    assert spent["reward"].new_tokens == check_tokens


def test_few_slots_give_the_same_rewards_and_book_what_is_computed_again(checkpoints):
    roomy, naive = opened("qwen_prm", checkpoints), opened("qwen_prm", checkpoints, cached=False)
    bytes_per_slot = 512 * roomy.scorer.prices.pricer.kv_bytes_per_token
    for slots in (1, 3):
        tight = opened("qwen_prm", checkpoints, memory_gb=slots * bytes_per_slot / 1e9 + 1e-9)
        assert tight.scorer.runner.slots.count == slots
        again = 0
        for one, two in zip(tree(search="a"), tree(search="b"), strict=True):
            told = tight.score([*one, *two])
            same(told, naive.score([*one, *two]))
            again += sum(cost["reward"].recomputed_tokens for cost in told.spent if cost)
        assert again > 0


def searched(reward, strategy="rebase(width=4)"):
    """Three searches at once, each with its books."""
    parsed, prompt = specs.parse("strategy", strategy), Prompt(text="How many?\n")
    jobs = [
        [Job(name, Problem(name, f"How many has {name}?", "4"), prompt, parsed, SamplingParams(), 0, GRADER, reward)]
        for name in "abc"
    ]
    return {attempt.key: attempt for attempt in drive(jobs, Scripted(steps=4).open())}


def test_what_is_computed_again_after_eviction_is_spent_and_never_charged(checkpoints):
    roomy = opened("qwen_prm", checkpoints)
    bytes_per_slot = 512 * roomy.scorer.prices.pricer.kv_bytes_per_token
    free = searched(roomy)
    for slots in (1, 2, 5):
        tight = searched(opened("qwen_prm", checkpoints, memory_gb=slots * bytes_per_slot / 1e9 + 1e-9))
        again = 0
        for name, attempt in tight.items():
            wanted, charged, spent = (c["reward"] for c in (free[name].charged, attempt.charged, attempt.spent))
            for figure in ("flops", "executed_flops", "prompt_tokens", "cached_tokens", "naive_flops"):
                assert getattr(charged, figure) == getattr(wanted, figure)
            assert (charged.recomputed_tokens, spent.prompt_tokens) == (0, charged.prompt_tokens)
            assert (spent.flops > charged.flops) == (spent.recomputed_tokens > 0)
            again += spent.recomputed_tokens
        assert again > 0
    assert all(attempt.spent["reward"].flops == attempt.charged["reward"].flops for attempt in free.values())


def test_a_released_search_is_forgotten_and_gives_its_slots_back(checkpoints):
    reward = opened("skywork", checkpoints)
    level = tree()[1]
    before = flops(reward.score(level))
    reward.release("s")
    assert not reward.scorer._searches
    assert reward.scorer._held.sum() == 0
    assert flops(reward.score(level)) == before


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_order_of_any_paths_gives_the_twins_rewards(checkpoints, data):
    """Random trees, asked for in random order, unscored parents and repeats among them."""
    cached, naive = _pair(checkpoints)
    search = data.draw(st.sampled_from("abc"))
    nodes = [root(search)]
    for _ in range(data.draw(st.integers(1, 12))):
        parent = data.draw(st.sampled_from(nodes))
        nodes.append(grow(parent, data.draw(st.sampled_from(LINES)), data.draw(st.integers(0, 2))))
    for _ in range(data.draw(st.integers(1, 4))):
        asked = data.draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=8))
        same(cached.score(asked), naive.score(asked))
    if data.draw(st.booleans()):
        cached.release(search)


_PAIRS = {}


def _pair(checkpoints):
    if not _PAIRS:
        few = 4 * 512 * opened("skywork", checkpoints).scorer.prices.pricer.kv_bytes_per_token
        _PAIRS["cached"] = opened("skywork", checkpoints, memory_gb=few / 1e9 + 1e-9)
        _PAIRS["naive"] = opened("skywork", checkpoints, cached=False)
    return _PAIRS["cached"], _PAIRS["naive"]


def test_the_root_has_no_steps_and_costs_nothing(checkpoints):
    scores = opened("skywork", checkpoints).score([root()])
    assert scores.rewards == ((),)
    assert flops(scores) == 0


def test_at_eight_steps_it_needs_a_quarter_of_the_flops(checkpoints):
    """What encoding each prefix anew would take stands beside what was spent."""
    reward = opened("qwen_prm", checkpoints)
    spent = [spent["reward"] for level in tree(depth=8) for spent in reward.score(level).spent]
    assert sum(cost.naive_flops for cost in spent) >= 4 * sum(cost.flops for cost in spent)
