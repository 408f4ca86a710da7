"""The answer for a budget, against what can be counted by hand; prices; and the interval of a difference."""

import numpy as np
import pytest
from tests.report.conftest import made

from isoflop.errors import SpecError
from isoflop.report.answer import Pairs, answers
from isoflop.report.budget import Prices, axes
from isoflop.report.table import Table
from isoflop.stats.arms import ArmData
from isoflop.stats.paired import compare_pair, difference_interval, holm

PROBLEMS = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made(
        tmp_path_factory.mktemp("answer"),
        [f"How much is {n} and 0?" for n in range(PROBLEMS)],
        model="scripted(steps=3, skill=0.6)",
        strategies=["best_of_n(n=4)", "self_consistency(n=[2,16])", "rebase(width=4)"],
        reference="self_consistency(n=2)",
    )


@pytest.fixture(scope="module")
def table(run):
    return Table.of(run)


def test_there_is_an_answer_for_each_arm_that_a_budget_lets_in(run, table):
    [flops, tokens] = axes(None, table.arms)  # the scripted engine measures no seconds
    assert [flops.key, tokens.key] == ["flops", "tokens"]
    found = answers(table, flops, Pairs(table))
    costs = sorted({arm.flops_per_problem for arm in table.arms})
    assert [answer.budget for answer in found] == costs
    right = {label: {r.problem.id for r in run.attempts if r.arm == label and r.correct} for label in run.study.labels}
    for answer in found:
        within = [arm.label for arm in table.arms if arm.flops_per_problem <= answer.budget]
        assert len(right[answer.winner]) == max(len(right[label]) for label in within)
        assert {rival.label for rival in answer.rivals} == set(within) - {answer.winner}
        for rival in answer.rivals:
            assert rival.difference == pytest.approx((len(right[answer.winner]) - len(right[rival.label])) / PROBLEMS)
            assert rival.interval.low <= rival.difference <= rival.interval.high
        data = {arm.label: arm.data for arm in table.arms}
        p = [compare_pair(data[answer.winner], data[rival.label]).p for rival in answer.rivals]
        assert [rival.p for rival in answer.rivals] == p
        assert [rival.p_holm for rival in answer.rivals] == list(holm(p))


def test_the_sentence_says_whether_it_is_real(table):
    [flops, _] = axes(None, table.arms)
    first, *_, last = answers(table, flops, Pairs(table))
    assert first.sentence.endswith("no other arm is within this budget.") or "distinguishable" in first.sentence
    for answer in answers(table, flops, Pairs(table)):
        assert answer.sentence.startswith(answer.winner)
        if answer.rivals:
            assert ("not distinguishable with these 40 problems" in answer.sentence) is not answer.clear
            assert "95 % interval" in answer.sentence
            assert "paired p" in answer.sentence
    assert any("exploratory" in line for line in last.details)
    assert any(line.startswith("Against the reference self_consistency(n=2)") for line in last.details)


def test_what_sees_the_gold_answer_never_wins(tmp_path):
    run = made(
        tmp_path,
        [f"How much is {n} and 0?" for n in range(12)],
        model="scripted(steps=3, skill=0.6)",
        strategies=["best_of_n(n=4)"],
        reward=["logprob()", "oracle()"],
    )
    table = Table.of(run)
    oracle, plain = sorted(table.arms, key=lambda arm: "oracle" not in arm.label)
    assert oracle.accuracy > plain.accuracy
    [answer] = answers(table, axes(None, table.arms)[0], Pairs(table))
    assert answer.winner == plain.label
    assert f"Left out, as they see the gold answer: {oracle.label}." in answer.details


def test_money_is_what_the_prices_make_of_the_record(table):
    prices = Prices.of({"input": "2", "output": "10", "currency": "€"})
    for arm in table.arms:
        expected = (2 * arm.per_problem("prompt_tokens") + 10 * arm.tokens_per_problem) / 1e6
        assert prices.of_arm(arm) == pytest.approx(expected)
    assert Prices.of({"hour": "3"}).of_arm(table.arms[0]) is None  # no seconds were recorded
    money = axes(prices, table.arms)[-1]
    assert (money.key, money.said(0.0123)) == ("money", "€ 12.3 per 1,000 problems")
    assert Prices.of({}) is None


@pytest.mark.parametrize("given", [{"hours": "1"}, {"hour": "-1"}, {"hour": "nan"}, {"input": "much"}, {"hour": "0"}])
def test_wrong_prices_are_refused_with_the_allowed_ones(given):
    with pytest.raises(SpecError, match=r"hour|price"):
        Prices.of(given)


def arm(name, correct):
    return ArmData(name, [f"p{i}" for i in range(len(correct))], [[value] for value in correct], [[1.0]] * len(correct))


def test_the_interval_of_a_difference_covers_what_it_promises():
    rng = np.random.default_rng(0)
    a_only, b_only, covered = 0.25, 0.15, 0
    for trial in range(200):
        kind = rng.choice(4, size=80, p=[a_only, b_only, 0.4, 0.2])
        a, b = arm("a", np.isin(kind, (0, 2)).astype(float)), arm("b", np.isin(kind, (1, 2)).astype(float))
        covered += 0.10 in difference_interval(a, b, resamples=400, seed=trial)
    assert covered / 200 > 0.9  # nominal 0.95, 200 trials


def test_the_interval_agrees_with_the_exact_test_where_few_problems_differ():
    a, b = arm("a", [1.0] * 19 + [0.0] * 29), arm("b", [1.0] * 15 + [0.0] * 33)  # 4 differ, all to one side
    found = difference_interval(a, b)
    assert compare_pair(a, b).p == pytest.approx(0.125)
    assert (found.low, found.high) == pytest.approx((-0.005, 0.170), abs=0.002)  # worked out by hand
    opposite = difference_interval(b, a)
    assert (opposite.low, opposite.high) == pytest.approx((-found.high, -found.low))


def test_several_attempts_are_resampled_by_problem():
    rng = np.random.default_rng(1)
    a, b = (ArmData(name, [f"p{i}" for i in range(60)], rng.random((60, 3)) < chance, np.ones((60, 3)))
            for name, chance in (("a", 0.7), ("b", 0.5)))  # fmt: skip
    found = difference_interval(a, b)
    assert found.method == "bootstrap by problem"
    assert found.low < a.accuracy - b.accuracy < found.high


def test_arms_that_never_differ_still_have_an_interval():
    found = difference_interval(arm("a", [1.0] * 20), arm("b", [1.0] * 20))
    assert found.low < 0 < found.high
    assert found.high == pytest.approx(-found.low) == pytest.approx(0.161, abs=0.001)  # Wilson's bound of 0 of 20
