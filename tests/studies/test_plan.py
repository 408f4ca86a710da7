"""Plans: right where the assumptions are, from a config alone, and honest about what they cannot know."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from isoflop.cost.devices import Device
from isoflop.cost.flops import Pricer, estimate
from isoflop.cost.shape import load_shape
from isoflop.engines.scripted import Scripted
from isoflop.errors import StudyError
from isoflop.quietstar.cost import ThoughtPricer
from isoflop.quietstar.engine import QuietStar
from isoflop.studies.phantom import Assumptions
from isoflop.studies.plan import MoneyPrices, assumptions_from, plan_study
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study
from isoflop.studies.study_file import study_from_dict

STRATEGIES = [
    "greedy()",
    "self_consistency(n=[2, 4])",
    "best_of_n(n=4)",
    "adaptive_consistency(max_n=6)",
    "beam(width=2, expand=2)",
    "dvts(n=4, width=2)",
    "particle_filter(n=4)",
    "rebase(width=4)",
    "mcts(simulations=4)",
]
CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "torch_dtype": "bfloat16",
}


@dataclass(frozen=True)
class WithModel(Scripted):
    """An engine spec that names a model; planning must not open it."""

    model: str = ""

    def open(self):
        raise AssertionError("a plan opens no model")


@pytest.fixture
def problems(tmp_path: Path) -> str:
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"How much is {i}?", "answer": str(i)}) for i in range(40)))
    return f"jsonl(path={str(path)!r})"


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(CONFIG))
    return str(tmp_path / "model")


def test_a_plan_from_earlier_lengths_foretells_what_the_run_takes(problems: str, tmp_path: Path) -> None:
    study = study_from_dict({"problems": problems, "model": "scripted()", "strategy": STRATEGIES}, "study.toml")
    run = Run.create(study, tmp_path / "run")
    run.execute()
    plan = plan_study(study, assumptions=assumptions_from(run))
    outcomes = plan.compare_with(run)
    assert [outcome.label for outcome in outcomes] == list(study.labels)
    for outcome in outcomes:
        assert outcome.ratio == pytest.approx(1, abs=0.1), outcome
    spent = sum(record.spent_total.flops for record in run.attempts)
    assert plan.total_flops == pytest.approx(spent, rel=0.1)  # shared samples counted once
    assert plan.total_flops < sum(arm.flops_per_attempt * arm.attempts for arm in plan.arms)


def test_one_greedy_solution_is_priced_by_the_closed_form(problems: str, model: str) -> None:
    study = Study(problems, [Arm.of(model=WithModel(model=model), strategy="greedy()")])
    [arm] = plan_study(study, assumptions=Assumptions(prompt_tokens=50, solution_tokens=120, step_tokens=30)).arms
    assert arm.flops_per_attempt == estimate(load_shape(model), 50, 120)["total_flops"]
    assert (arm.prompt_tokens_per_attempt, arm.new_tokens_per_attempt) == (50, 120)
    assert (arm.latency_seconds, arm.seconds, arm.money) == (None, None, None)  # no device, no prices


def test_seconds_and_money_follow_from_device_and_prices(problems: str, model: str) -> None:
    study = Study(problems, [Arm.of(model=WithModel(model=model), strategy="greedy()")], concurrency=8)
    device = Device("test", flops_per_second=1e9, bytes_per_second=1e6, source="made up")
    [arm] = plan_study(study, device=device, money=MoneyPrices(per_hour=3600.0)).arms
    assert arm.latency_seconds is not None
    assert arm.seconds is not None
    assert arm.latency_seconds > arm.seconds  # eight at once read the weights once
    assert arm.money == pytest.approx(40 * arm.seconds)
    [arm] = plan_study(study, money=MoneyPrices(per_million_new_tokens=1e6)).arms
    assert arm.money == pytest.approx(40 * 200)
    [arm] = plan_study(study, money=MoneyPrices(per_hour=1.0)).arms
    assert arm.money is None  # by the hour, on a device of unknown speed


@pytest.mark.parametrize(("max_tokens", "made"), [(1024, 400), (384, 384 + 4)])  # 4: what a forced close samples
def test_thinking_and_forced_closes_are_priced_too(problems: str, model: str, max_tokens: int, made: int) -> None:
    engine, sampling = WithModel(model=model), f"sampling(max_tokens={max_tokens})"
    strategies = ("greedy()", "rebase(width=2)")
    arms = [Arm.of(model=engine, strategy=one, prompt="reasoning()", sampling=sampling) for one in strategies]
    assumed = Assumptions(think_tokens=300, solution_tokens=100, step_tokens=50)
    plan = plan_study(Study(problems, arms), assumptions=assumed)
    assert [arm.new_tokens_per_attempt for arm in plan.arms] == [made, 2 * made]


def test_what_n_cannot_show(problems: str) -> None:
    study = study_from_dict(
        {"problems": problems, "model": "scripted()", "strategy": STRATEGIES, "reference": "greedy()"}, "study.toml"
    )
    plan = plan_study(study)
    assert plan.level == pytest.approx(0.05 / len(study.pairs))
    assert not plan.can_show_something  # forty problems, a fifth of them discordant, nine comparisons
    one = plan_study(study_from_dict({"problems": problems, "model": "scripted()", "strategy": "greedy()"}, "s"))
    assert one.detectable_difference == pytest.approx(0.198, abs=0.001)  # (1.96 + 0.84) * sqrt(0.2 / 40)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"solution_tokens": 0}, "solution_tokens=0 must be above 0"),
        ({"prompt_tokens": 0}, "prompt_tokens=0 must be at least 1"),
        ({"agreement": 1.5}, "agreement=1.5 is a share"),
    ],
)
def test_assumptions_that_make_no_sense_are_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        Assumptions(**values)  # type: ignore[arg-type]


def test_an_empty_run_teaches_nothing(problems: str, tmp_path: Path) -> None:
    study = study_from_dict({"problems": problems, "model": "scripted()", "strategy": "greedy()"}, "study.toml")
    with pytest.raises(StudyError, match="no solution with tokens yet"):
        assumptions_from(Run.create(study, tmp_path / "run"))


def test_an_engine_that_thinks_is_priced_with_its_thoughts(problems: str, model: str) -> None:
    """Greedy: what the formula says of a thought before each token, of each step's first, of a share of them."""
    assumed = Assumptions(prompt_tokens=50, solution_tokens=120, step_tokens=30, gated=0.5)
    fields = {
        "never": {"think": "never"},
        "always": {},
        "boundary": {"think": "boundary"},
        "gate": {"think": "gate(1)"},
    }
    engines = {name: QuietStar(model, **own) for name, own in fields.items()} | {"ahead": QuietStar(model, ahead=True)}
    arms = [Arm.of(model=engine, strategy="greedy()") for engine in engines.values()]
    plan = plan_study(Study(problems, arms), assumptions=assumed)
    flops = {name: arm.flops_per_attempt for name, arm in zip(engines, plan.arms, strict=True)}
    prices = ThoughtPricer(Pricer(load_shape(model)), 8)
    assert flops["never"] == estimate(load_shape(model), 50, 120)["total_flops"]
    assert flops["always"] - flops["never"] == prices.cost(50, 120).flops
    assert flops["boundary"] - flops["never"] == sum(prices.cost(50 + at).flops for at in range(0, 120, 30))
    assert flops["gate"] - flops["never"] == pytest.approx(prices.cost(50, 120).flops / 2, rel=0.15)
    every = [prices.ahead(50, 120, dropped=dropped).flops for dropped in (0, 5)]
    thrown = (flops["ahead"] - flops["never"] - every[0]) / (every[1] - every[0])
    assert thrown == pytest.approx(0.1, abs=0.05)
