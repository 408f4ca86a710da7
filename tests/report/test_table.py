"""The table of a small run, checked against sums made here from its records."""

import json
from dataclasses import replace

import pytest

from isoflop.api import Run, study_of
from isoflop.report.arms import summarize
from isoflop.report.comparison import Comparison
from isoflop.report.table import Table
from isoflop.stats.paired import mcnemar


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "q.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{i} + {i}?", "answer": str(2 * i)}) for i in range(12)))
    return path


def executed(questions, folder, **declared):
    declared = {"model": "scripted(steps=3, skill=0.6)", "reference": "self_consistency(n=4)"} | declared
    declared.setdefault("strategies", ["self_consistency(n=4)", "best_of_n(n=4)", "rebase(width=[2,4])"])
    run = Run.create(study_of(problems=f"jsonl('{questions}')", **declared), folder)
    run.execute()
    return run


@pytest.fixture(scope="module")
def run(questions, tmp_path_factory):
    return executed(questions, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def table(run):
    return Table.of(run)


def arm_of(table, label):
    [found] = [arm for arm in json.loads(table.to_json())["arms"] if arm["strategy"] == label]
    return found


def test_json_is_one_line_with_the_promised_keys(table):
    text = table.to_json()
    assert "\n" not in text
    document = json.loads(text)
    promised = {"strategy", "n", "correct", "accuracy", "interval", "flops_per_problem", "seconds_per_problem"}
    assert all(promised | {"tokens_per_problem", "by_role"} <= arm.keys() for arm in document["arms"])
    assert all({"a", "b", "a_only", "b_only", "p", "p_holm"} <= pair.keys() for pair in document["paired"])
    assert [arm["strategy"] for arm in document["arms"]] == [
        "self_consistency(n=4)",
        "best_of_n(n=4)",
        "rebase(width=2)",
        "rebase(width=4)",
    ]


def test_every_arm_equals_what_its_records_add_up_to(run, table):
    for label in run.study.labels:
        records = [record for record in run.attempts if record.arm == label]
        arm = arm_of(table, label)
        assert arm["n"] == len(records) == 12
        assert arm["correct"] == sum(record.correct for record in records)
        assert arm["accuracy"] == pytest.approx(arm["correct"] / 12)
        assert arm["interval"][0] <= arm["accuracy"] <= arm["interval"][1]
        assert arm["flops_per_problem"] == pytest.approx(sum(r.charged_total.flops for r in records) / 12)
        assert arm["spent_flops_per_problem"] == pytest.approx(sum(r.spent_total.flops for r in records) / 12)
        assert arm["tokens_per_problem"] == pytest.approx(sum(r.charged_total.new_tokens for r in records) / 12)
        assert arm["by_role"]["policy"]["flops_per_problem"] == pytest.approx(arm["flops_per_problem"])
        assert arm["naive_flops_per_problem"] > arm["flops_per_problem"]
        assert arm["ties"] == sum(len(record.tied) > 1 for record in records)


def test_arms_that_share_samples_are_charged_alike_and_spend_once(table):
    first, second = arm_of(table, "self_consistency(n=4)"), arm_of(table, "best_of_n(n=4)")
    assert first["flops_per_problem"] == second["flops_per_problem"]
    assert first["spent_flops_per_problem"] > 0 == second["spent_flops_per_problem"]


def test_declared_pairs_are_corrected_and_all_others_exploratory(run, table):
    correct = {
        label: {record.problem.id for record in run.attempts if record.arm == label and record.correct}
        for label in run.study.labels
    }
    declared = [pair for pair in json.loads(table.to_json())["paired"] if not pair["exploratory"]]
    assert [(pair["a"], pair["b"]) for pair in declared] == list(run.study.pairs)
    for pair in declared:
        a, b = correct[pair["a"]], correct[pair["b"]]
        assert (pair["a_only"], pair["b_only"]) == (len(a - b), len(b - a))
        assert pair["p"] == pytest.approx(mcnemar(len(a - b), len(b - a)))
        assert pair["p"] <= pair["p_holm"] <= 1
    others = [pair for pair in json.loads(table.to_json())["paired"] if pair["exploratory"]]
    assert len(others) == 3
    assert all(pair["p_holm"] is None for pair in others)


def test_equal_flops_never_extrapolates_and_leaves_the_own_family_out(table):
    document = json.loads(table.to_json())
    flops = {arm["strategy"]: arm["flops_per_problem"] for arm in document["arms"]}
    assert document["equal_flops"]
    for row in document["equal_flops"]:
        family = row["strategy"].partition("(")[0]
        assert not any(rival.startswith(family) for rival in row["rivals"])
        rivals = [flops[rival] for rival in row["rivals"]]
        reachable = min(rivals) <= flops[row["strategy"]] * (1 + 1e-9) and flops[row["strategy"]] <= max(rivals) * (
            1 + 1e-9
        )
        assert (row["difference"] is not None) == reachable


def test_a_pool_gives_every_k_and_pass_at_k_rises(table):
    [pool] = json.loads(table.to_json())["pools"]
    assert set(pool["arms"]) == {"self_consistency(n=4)", "best_of_n(n=4)"}
    assert pool["k"] == [1, 2, 3, 4]
    assert set(pool["curves"]) == {"pass@k", "maj@k", "weighted@k", "best@k"}
    passes = pool["curves"]["pass@k"]["accuracy"]
    assert passes == sorted(passes)
    assert passes[0] == pytest.approx(pool["curves"]["maj@k"]["accuracy"][0])


def test_the_difference_that_so_many_problems_show_is_told(table):
    from isoflop.report.layout import notes
    from isoflop.stats.paired import minimum_detectable_difference

    declared = [test for test in table.comparison.tests if not test.exploratory]
    discordant = sum(test.a_only + test.b_only for test in declared) / (12 * len(declared))
    least = minimum_detectable_difference(12, discordant, level=0.05 / len(declared))
    [told] = [line for line in notes(table) if "will not show" in line]
    assert told.startswith(f"Differences below {100 * least:.1f} points")


def test_each_reward_that_weighed_a_pool_has_curves_of_its_own(questions, tmp_path):
    run = executed(
        questions, tmp_path, strategies=["self_consistency(n=4)", "best_of_n(n=4)"], reward=["oracle()", "random()"]
    )
    ceiling, chance = json.loads(Table.of(run).to_json())["pools"]
    assert ceiling["arms"] == ["best_of_n(n=4) | oracle()", "self_consistency(n=4)"]
    assert chance["arms"] == ["best_of_n(n=4) | random()", "self_consistency(n=4)"]
    for measure in ("pass@k", "maj@k"):
        assert ceiling["curves"][measure] == chance["curves"][measure]
    assert ceiling["curves"]["best@k"]["accuracy"] == ceiling["curves"]["pass@k"]["accuracy"]
    assert chance["curves"]["best@k"]["accuracy"] != ceiling["curves"]["best@k"]["accuracy"]


def test_failed_attempts_make_an_arm_incomplete_and_refuse_its_tests(questions, tmp_path):
    run = executed(questions, tmp_path, model="scripted(broken=['q/test/3'])", strategies=["greedy", "rebase(width=2)"],
                   reference="greedy()")  # fmt: skip
    table = Table.of(run)
    arm = arm_of(table, "rebase(width=2)")
    assert (arm["n"], arm["missing"], arm["complete"]) == (11, 1, False)
    assert json.loads(table.to_json())["paired"] == []
    [refused] = json.loads(table.to_json())["refused"]
    assert refused["reason"] == "greedy(): 1 attempts failed; rerun them (--retry-errors)"
    text = table.to_text()
    assert "greedy() [reference, incomplete]" in text
    assert "INCOMPLETE rebase(width=2): 1 attempts failed (first: q/test/3: scripted engine" in " ".join(text.split())
    assert "not tested: rebase(width=2) against greedy()" in " ".join(text.split())


def test_a_refused_pair_does_not_make_the_correction_of_the_others_milder(questions, tmp_path):
    declared = {"model": "scripted(steps=3, skill=0.5, broken=['q/test/3'])", "reference": "greedy()"}
    run = executed(questions, tmp_path, **declared, strategies=["greedy()", "best_of_n(n=4)", "rebase(width=2)"])
    arms = summarize(run)
    whole = [replace(arm, missing=0, failures=()) for arm in arms[:2]]  # as if only the third arm had failed
    found = Comparison.of(run.study, [*whole, arms[2]])
    [test] = [test for test in found.tests if not test.exploratory]
    assert len(found.refused) == 1
    assert test.p < 0.5
    assert test.p_holm == pytest.approx(2 * test.p)


def test_no_answer_counts_as_wrong_and_is_listed(questions, tmp_path):
    declared = study_of(model="scripted(skill=1.0, mute=['q/test/0', 'q/test/5'])", strategies="greedy()",
                        problems=f"jsonl('{questions}', grader='math(fallback=none)')")  # fmt: skip
    run = Run.create(declared, tmp_path)
    run.execute()
    arm = arm_of(Table.of(run), "greedy()")
    assert (arm["n"], arm["correct"], arm["outcomes"]["no_answer"]) == (12, 10, 2)
    assert "no answer (wrong): greedy() 2" in Table.of(run).to_text()


def test_answers_read_by_fallback_are_listed(questions, tmp_path):
    run = executed(questions, tmp_path, model="scripted(skill=1.0, mute=['q/test/0', 'q/test/5', 'q/test/7'])",
                   strategies="greedy()", reference=None)  # fmt: skip
    assert arm_of(Table.of(run), "greedy()")["fallback_share"] == 0.25
    assert "answers read by fallback: greedy() 25.0 %" in Table.of(run).to_text()


def test_a_run_that_has_not_begun_has_a_table_without_numbers(questions, tmp_path):
    study = study_of(model="scripted()", problems=f"jsonl('{questions}')", strategies="greedy()")
    table = Table.of(Run.create(study, tmp_path))
    assert arm_of(table, "greedy()")["accuracy"] is None
    assert "INCOMPLETE greedy(): 12 attempts are still to make" in table.to_text()


def test_several_seeds_are_one_problem_and_the_bootstrap_says_so(questions, tmp_path):
    run = executed(questions, tmp_path, seeds=[0, 1, 2], strategies=["self_consistency(n=2)", "rebase(width=2)"],
                   reference="self_consistency(n=2)")  # fmt: skip
    table = Table.of(run)
    arm = arm_of(table, "self_consistency(n=2)")
    records = [record for record in run.attempts if record.arm == "self_consistency(n=2)"]
    assert (arm["n"], arm["attempts"]) == (12, 36)
    assert arm["accuracy"] == pytest.approx(sum(record.correct for record in records) / 36)
    assert arm["interval_method"] == "bootstrap by problem"
    [pool] = json.loads(table.to_json())["pools"]
    assert pool["problems"] == 12
    right = sum(candidate.outcome == "correct" for record in records for candidate in record.candidates)
    assert pool["curves"]["pass@k"]["accuracy"][0] == pytest.approx(right / 72)


def test_problems_without_gold_answers_have_no_accuracy(questions, tmp_path):
    declared = study_of(model="scripted()", problems=f"jsonl('{questions}', answer=none)", strategies="greedy()")
    run = Run.create(declared, tmp_path)
    run.execute()
    table = Table.of(run)
    assert arm_of(table, "greedy()")["accuracy"] is None
    assert arm_of(table, "greedy()")["flops_per_problem"] > 0
    assert "no gold answers" in table.to_text()


def test_utility_charges_compute_in_units_of_greedy(questions, tmp_path):
    run = executed(questions, tmp_path, strategies=["greedy()", "rebase(width=2)"], reference="greedy()")
    arms = {arm.label: arm for arm in summarize(run)}
    ratio = arms["rebase(width=2)"].flops_per_problem / arms["greedy()"].flops_per_problem
    arm = arm_of(Table.of(run, lam=0.01), "rebase(width=2)")
    assert arm["utility"] == pytest.approx(arm["accuracy"] - 0.01 * ratio)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_text_fits_its_width_and_a_wider_one_says_more(table, width):
    lines = table.to_text(width).splitlines()
    assert max(map(len, lines)) <= width
    assert "rebase(width=4)" in table.to_text(width)
    assert ("naive" in table.to_text(width)) == (width >= 120)


def test_markdown_and_pandas_hold_the_same_accuracies(table):
    frame = table.to_pandas()
    markdown = table.to_markdown()
    for label, accuracy in frame["accuracy"].items():
        assert accuracy == arm_of(table, label)["accuracy"]
        assert f"{100 * accuracy:.1f} [" in markdown
    assert "best\\_of\\_n(n=4)" in markdown
    assert frame.loc["rebase(width=2)", "by_role.policy.flops_per_problem"] > 0


def test_arms_of_several_models_are_told_apart(questions, tmp_path):
    run = executed(questions, tmp_path, model=["scripted(skill=0.9)", "scripted(skill=0.5)"], strategies="greedy()",
                   reference=None)  # fmt: skip
    labels = [arm["strategy"] for arm in json.loads(Table.of(run).to_json())["arms"]]
    assert labels == ["greedy() | scripted(skill=0.9)", "greedy() | scripted(skill=0.5)"]
