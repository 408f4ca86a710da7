"""The registered hypotheses on made-up evidence whose truth is known: an effect is found, none is not found."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from isoflop.claim.bootstrap import Draws
from isoflop.claim.choices import BUDGETS, Choices
from isoflop.claim.choose import choose
from isoflop.claim.evidence import Evidence, evidence_of
from isoflop.claim.figure import NAMES, figure_of
from isoflop.claim.hypotheses import Claim
from isoflop.claim.layout import notes, sections
from isoflop.errors import StudyError

# Each family has an arm of half, of once and of twice each budget, so that mixtures are needed and possible.
SIZES = (1, 2, 4, 8, 16, 32)
TRUTH = {"B": 0.30, "T": 0.42, "S": 0.40, "C": 0.60}


def mixed(family):
    """Of arms that take 0.8 times their size."""
    return {b: (f"{family} {b}", f"{family} {2 * b}") if b < 32 else (f"{family} {b}",) for b in BUDGETS}


CHOICES = Choices(
    "greedy",
    {b: {family: mixed(family)[b] for family in TRUTH} for b in BUDGETS},
    seconds={b: {family: mixed(family)[b] for family in TRUTH} for b in BUDGETS},
    protocols={"published": {"C": "B 8", "T": "T 8"}, "corrected": {"C": "C 8", "T": "T 8"}},
    controls={"scratchpad": ("S 8", "S 16"), "twin": ("C 8",)},
)


def made_up(truth=TRUTH, problems=600, seeds=5, seed=0, seed_effect=0.01, per_doubling=0.02):
    """Problems differ in how hard they are, for all arms alike; training seeds shift an arm's accuracy a little."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.15, problems)
    correct, flops = {}, {}
    for label, base, size in [
        ("greedy", 0.25, 1.0),
        *(
            (f"{family} {n}", chance + per_doubling * np.log2(n), 0.8 * n)
            for family, chance in truth.items()
            for n in SIZES
        ),
    ]:
        shift = rng.normal(0, seed_effect, (seeds, 1))
        correct[label] = rng.random((seeds, problems)) < np.clip(base + hard + shift, 0.02, 0.98)
        flops[label] = 1e6 * size * rng.uniform(0.9, 1.1, (seeds, problems))
    evidence = evidence_of(correct, flops)
    return replace(evidence, seconds=evidence.flops.mean(axis=2) / 1e9)


def test_a_true_effect_is_found_in_every_hypothesis():
    found = Claim.of(made_up(), CHOICES, resamples=1000)
    assert {name: one.supported for name, one in found.verdicts.items()} == {
        "H0": True, "H1": True, "H2": True, "H3": True, "H4": True,
    }, found.verdicts  # fmt: skip
    assert found.rows[8]["C - T"].value == pytest.approx(0.18, abs=0.04)
    assert found.interaction.value == pytest.approx(0.60 - 0.42 - 0.40 + 0.30, abs=0.05)
    low, high = found.rows[8]["C - T"].interval
    assert low < 0.18 < high
    assert found.levels[8]["C"].cost == pytest.approx(8, rel=1e-6)  # mixed to the budget
    assert found.levels[32]["C"].cost < 32 * 0.85
    assert found.headline == "supported: H0, H1, H2, H3, H4; not supported: none; controls were not evaluated"
    assert json.loads(json.dumps(found.to_dict()))["rows"]["8"]["C - S"]["p"] < 0.01


def test_no_effect_is_not_found():
    flat = dict.fromkeys(TRUTH, 0.45)
    found = Claim.of(made_up(flat), CHOICES, resamples=500)
    assert not any(found.verdicts[name].supported for name in ("H0", "H1", "H2", "H3", "H4")), found.verdicts
    assert "not above" in found.verdicts["H1"].reason


def test_an_effect_that_is_missing_at_one_budget_alone_fails_the_primary_hypothesis():
    evidence = made_up()
    place, rival = evidence.place("C 32"), evidence.place("T 32")
    correct = evidence.correct.copy()
    correct[place] = correct[rival]
    found = Claim.of(replace(evidence, correct=correct), CHOICES, resamples=500)
    assert not found.verdicts["H1"].supported
    assert "C - T at 32" in found.verdicts["H1"].reason
    assert "at 8" not in found.verdicts["H1"].reason


def test_one_training_seed_with_the_other_sign_is_enough_to_fail():
    evidence = made_up(seeds=3)
    correct = evidence.correct.copy()
    for label in ("C 8", "C 16"):
        correct[evidence.place(label), 1] = 0
    found = Claim.of(replace(evidence, correct=correct), CHOICES, resamples=300)
    assert min(found.rows[8]["C - T"].by_seed) < 0
    assert not found.verdicts["H1"].supported


def test_p_values_under_no_effect_are_not_too_small():
    """60 studies without an effect: about 3 of them may have p < 0.05, a crossed bootstrap rather fewer."""
    flat = dict.fromkeys(TRUTH, 0.45)
    studies = [made_up(flat, 150, 4, seed, 0.03) for seed in range(60)]
    p = np.array([Claim.of(study, CHOICES, resamples=200).rows[8]["C - T"].p for study in studies])
    assert np.mean(p < 0.05) <= 0.1
    assert np.mean(p > 0.5) > 0.25


def test_a_combination_that_overspends_supports_nothing_and_a_rival_may():
    choices = replace(CHOICES, flops={**CHOICES.flops, 8: CHOICES.flops[8] | {"C": ("C 16",)}})
    found = Claim.of(made_up(), choices, resamples=200)
    assert found.verdicts["H1"].reason.startswith("C costs more than its budget at 8 units; largest p elsewhere 0.00")
    assert not found.verdicts["H2"].supported
    assert not found.verdicts["H3"].supported
    rival = replace(CHOICES, flops={**CHOICES.flops, 8: CHOICES.flops[8] | {"T": ("T 16",)}})
    assert Claim.of(made_up(), rival, resamples=200).verdicts["H1"].supported


def test_a_budget_of_seconds_that_the_combination_misses_is_named_and_marked():
    evidence = made_up()
    slow = np.array([2.0 if label == "C 2" else 1.0 for label in evidence.labels])
    choices = replace(CHOICES, seconds={**CHOICES.seconds, 2: CHOICES.seconds[2] | {"C": ("C 2",)}})
    found = Claim.of(replace(evidence, seconds=evidence.seconds * slow[:, None]), choices, resamples=200)
    assert found.verdicts["H4"].reason.startswith("C costs more than its budget at 2 units; largest p elsewhere")
    assert found.seconds_levels[2]["C"].cost == pytest.approx(3.2, rel=0.02)
    tables = dict(sections(found))
    rows = tables["Differences at budgets of seconds"][0].cells
    assert "C - T at 2, C overspends" in rows
    assert "C - T at 4" in rows
    assert "(3.2" in tables["Accuracy % at budgets of the unit's throughput seconds"][4].cells[0]


def test_every_training_seed_is_shown_by_itself_and_one_alone_is_told():
    found = Claim.of(made_up(), CHOICES, resamples=200)
    own = dict(sections(found))["Accuracy % (cost) at 8 units, each training seed by itself"]
    assert [column.heading for column in own] == ["training seed", "B", "T", "S", "C"]
    assert len(own[4].cells) == 5
    assert np.mean(found.levels[8]["C"].by_seed) == pytest.approx(found.levels[8]["C"].accuracy)
    assert "5 training seeds are few" in notes(found)[-1]
    assert "One training seed: nothing is drawn anew" in notes(Claim.of(made_up(seeds=1), CHOICES, resamples=200))[-1]


def test_a_control_that_wins_comes_first():
    strong = made_up(TRUTH | {"S": 0.75})
    found = Claim.of(strong, CHOICES, strong, resamples=300)
    assert found.headline == "a control beats the combination at 8 units of FLOPs: scratchpad"
    assert found.controls["twin"].value != 0
    assert found.control_levels["scratchpad"].accuracy > found.levels[8]["C"].accuracy
    # What knows the right answer is a bound.
    bounds = replace(CHOICES, controls={"oracle reward": CHOICES.controls["scratchpad"]})
    assert Claim.of(strong, bounds, strong, resamples=300).headline.startswith("supported")


def test_draws_equal_a_twin_that_draws_one_by_one():
    evidence = made_up(problems=40, seeds=3)
    draws = Draws.of(evidence, resamples=20, seed=3)
    unit = draws.cost[evidence.place("greedy")]
    accuracy, cost = draws.mixture(("C 8", "C 16"), 8 * unit)
    counts = np.random.default_rng(3).integers(0, 40, size=(20, 40))
    for draw in range(20):
        picked = counts[draw]
        for seed in range(3):
            a, b = (evidence.place(label) for label in ("C 8", "C 16"))
            budget = 8 * evidence.flops[evidence.place("greedy"), seed, picked].mean()
            first, second = evidence.flops[a, seed, picked].mean(), evidence.flops[b, seed, picked].mean()
            share = (budget - first) / (second - first)
            right = (1 - share) * evidence.correct[a, seed, picked].mean()
            right += share * evidence.correct[b, seed, picked].mean()
            assert accuracy[seed, draw + 1] == pytest.approx(right)
            assert cost[seed, draw + 1] == pytest.approx(budget)
    assert draws.seeds.sum(axis=0) == pytest.approx(1)
    # A mixture may be named either way round.
    assert draws.mixture(("C 16", "C 8"), 8 * unit)[0] == pytest.approx(accuracy)


def test_dev_fixes_the_neighbours_on_the_hull_that_the_budget_lies_between():
    evidence = made_up(per_doubling=0.08, seed_effect=0.0, problems=2000)
    families = {family: [f"{family} {n}" for n in SIZES] for family in TRUTH}
    found = choose(evidence, "greedy", families)
    assert found.flops[8]["C"] == ("C 8", "C 16")
    assert found.flops[32]["T"] == ("T 32",)
    assert found.seconds[8]["C"] == ("C 8", "C 16")
    again = Choices.of(tomllib.loads(found.to_toml()), "again")
    assert (again.flops, again.seconds, again.unit) == (found.flops, found.seconds, "greedy")
    with pytest.raises(StudyError, match="family S has 0 arms; dev may try 1 to 30"):
        choose(evidence, "greedy", families | {"S": []})
    with pytest.raises(StudyError, match=r"T at 2 units: its cheapest arm, 'T 32', takes 12"):
        choose(evidence, "greedy", families | {"T": ["T 32"]})
    slow = np.where([[label == "C 2"] for label in evidence.labels], 3.0, 1.0) * evidence.seconds
    one = choose(replace(evidence, seconds=slow), "greedy", families | {"C": ["C 2"]})
    assert one.seconds[2]["C"] == ("C 2",)  # dearer than the budget in seconds: it stands, and is told so by the test


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": 3}, "unit = 3 must be the label of an arm"),
        ({"flop": {}}, "key 'flop' is unknown; did you mean 'flops'"),
        ({"flops": {"2": {}}}, "must hold a table for each budget: 2, 4, 8, 16, 32"),
        ({"protocols": {"published": {}}}, "must hold published and corrected"),
        ({"controls": {"x": ["a", "b", "c"]}}, "controls.x = .* must be a list of one label, or of two"),
    ],
)
def test_choices_are_read_strictly(change, message):
    tables = {str(b): {name: ["a"] for name in TRUTH} for b in BUDGETS}
    with pytest.raises(StudyError, match=message):
        Choices.of({"unit": "greedy", "flops": tables} | change, "choices.toml")


def test_evidence_of_another_shape_is_refused():
    with pytest.raises(StudyError, match=r"must be \[arms, training seeds, problems\]"):
        Evidence(("a", "b"), np.zeros((1, 2, 3)), np.zeros((1, 2, 3)))


def test_the_figure_shows_every_family_and_control(tmp_path):
    evidence = made_up(problems=200)
    found = Claim.of(evidence, CHOICES, evidence, resamples=200)
    png, svg = figure_of(found).save(tmp_path)
    assert png.stat().st_size > 10_000
    drawn = svg.read_text()
    controls = [f"{name}, {found.control_levels[name].cost:.1f} units" for name in ("C", *CHOICES.controls)]
    for name in (*NAMES.values(), *controls, "200 problems, 5 training seeds"):
        assert name in drawn
    level = found.levels[8]["C"]
    assert level.interval[0] < level.accuracy < level.interval[1]
