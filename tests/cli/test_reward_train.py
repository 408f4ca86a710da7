"""`isoflop reward train` and `reward eval` as they are typed."""

import json

from typer.testing import CliRunner

from isoflop.cli.main import app, prepared
from isoflop.core import Outcome
from isoflop.reward_training.labels import LabelledSolution, LabelledStep, write_labels


def test_a_wrong_word_is_told_with_what_is_allowed(tmp_path):
    for option, value, allowed in (("--method", "tree", "head, lora, full"), ("--kind", "good", "outcome, hard, soft")):
        told = CliRunner().invoke(app, ["reward", "train", "x", "--model", "m", "--out", str(tmp_path), option, value])
        assert told.exit_code == 2
        assert f"{option} {value!r} is unknown; allowed: {allowed}" in told.stderr


def test_what_a_method_has_no_use_for_is_refused(tmp_path):
    for method, option, told in (
        ("lora", ["--features", "logprob"], "no place for the policy's log-probabilities: combine the two as ensemble"),
        ("full", ["--l2", "0.1"], "--l2 is given in vain with --method full"),
        ("full", ["--l2", "0"], "--l2 is given in vain with --method full"),  # 0 is a value, too
        ("head", ["--rank", "4"], "--rank is given in vain with --method head"),
        ("head", ["--shard"], "--shard is given in vain with --method head"),
    ):
        given = ["reward", "train", "x", "--model", "m", "--out", str(tmp_path), "--method", method, *option]
        found = CliRunner().invoke(app, given)
        assert found.exit_code == 2
        assert told in " ".join(found.stderr.split())


def test_eval_prints_a_table_and_ends_with_json(tmp_path):
    def solution(problem, number):
        good = number % 2 == 0
        steps = (
            LabelledStep("first\n", 1.0, 1, (1, 2), (-0.5 - 0.1 * number, -0.2)),
            LabelledStep(f"The answer is {7 if good else 5}", float(good), 0, (3,), (-1.0 / (1 + number),)),
        )
        outcome = Outcome.CORRECT if good else Outcome.WRONG
        return LabelledSolution(f"p{problem}", "3 + 4?", "7", "3 + 4?", steps, outcome, "hard", "arm")

    write_labels(tmp_path / "labels.jsonl", [solution(p, n) for p in range(12) for n in range(4)])
    arguments = ["reward", "eval", str(tmp_path / "labels.jsonl"), "--out", str(tmp_path / "out"), "--json"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout.splitlines()[-1])
    lines = [line.split() for line in told.stdout.splitlines() if line.strip().startswith("logprob()")]
    [free, _] = document["rewards"]
    assert lines[0][1] == f"{free['auc_within']['value']:.3f}"  # all of it fits into 80 columns
    assert lines[0][-1] == f"{free['calibration_error_after']:.3f}"
    assert lines[1][1] == f"{100 * free['gain_over_majority']['best']['value']:+.1f}"
    assert "48 solutions of 12 problems, hard labels" in told.stdout
    assert [one["reward"] for one in document["rewards"]] == ["logprob()", "random()"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "logprob",
        "random",
        "rewards.png",
        "rewards.svg",
    ]


def test_several_seeds_and_rewards_may_follow_one_option():
    typed = ["reward", "train", "labels.jsonl", "--seeds", "0", "1", "--model", "m"]
    assert prepared(typed) == [*typed[:5], "--seeds", "1", "--model", "m"]
    typed = ["reward", "eval", "labels.jsonl", "--rewards", "random()", "logprob()"]
    assert prepared(typed) == [*typed[:5], "--rewards", "logprob()"]
