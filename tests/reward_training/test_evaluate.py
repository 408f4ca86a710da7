"""Judging rewards: what a knowing one shows beside one that knows nothing, and what is refused or said."""

import itertools
import json

import numpy as np
import pytest
import torch

from isoflop import specs
from isoflop.answers.graders import MathGrader
from isoflop.errors import ProblemError, RewardError, StudyError
from isoflop.reward_training.evaluate import evaluate, read_processbench
from isoflop.reward_training.evaluation_report import COLUMNS, figures, rows, summary_lines, to_dict
from isoflop.reward_training.examples import policy_examples, policy_tokens
from isoflop.reward_training.folder import problems_of
from isoflop.reward_training.judging import first_errors, judge, pools_of
from isoflop.reward_training.labels import write_labels
from isoflop.reward_training.scoring import PolicyStates, score
from isoflop.reward_training.train_head import HeadTraining, train_head
from isoflop.rewards.head_folder import load_head
from isoflop.stats.calibration import Platt


def knowing(solutions):
    """Rewards that know the labels, but for a little noise."""
    rng = np.random.default_rng(0)
    return [tuple(0.4 * label + 0.5 * rng.random() for label in solution.labels) for solution in solutions]


def judged(solutions, rewards):
    pools, errors = pools_of(rewards, solutions, MathGrader()), first_errors(rewards, solutions)
    return judge("knowing", rewards, solutions, pools, errors, "here")


def test_a_knowing_reward_beats_the_baselines_in_every_measure(solve, tmp_path):
    solutions = solve(40, 6)
    write_labels(tmp_path / "labels.jsonl", solutions)
    free, chance = evaluate(tmp_path / "labels.jsonl", []).judgements
    knows = judged(solutions, knowing(solutions))
    assert (free.reward, chance.reward) == ("logprob()", "random()")
    for other in (free, chance):
        assert knows.within.value > 0.9 > other.within.value
        assert knows.pooled.value > other.pooled.value
        assert knows.first_error.f1 > other.first_error.f1
        assert knows.gain("best@k").value > other.gain("best@k").value
        assert other.within.value == pytest.approx(0.5, abs=0.1)
    assert knows.calibration_error_after < knows.calibration_error
    assert knows.gain("best@k").interval.low <= knows.gain("best@k").value <= knows.gain("best@k").interval.high


def test_choosing_is_the_mean_over_all_subsets(solve):
    """best@k and the oracle, by listing every subset of the samples."""
    solutions = solve(5, 5)
    rewards = knowing(solutions)
    found = judged(solutions, rewards)
    for k in (1, 3, 5):
        best, oracle = [], []
        for problem in dict.fromkeys(one.problem for one in solutions):
            members = [place for place, one in enumerate(solutions) if one.problem == problem]
            subsets = list(itertools.combinations(members, k))
            chosen = [max(subset, key=lambda place: rewards[place][-1]) for subset in subsets]
            best.append(np.mean([solutions[place].correct for place in chosen]))
            oracle.append(np.mean([any(solutions[place].correct for place in subset) for subset in subsets]))
        assert found.curve("best@k").accuracy[k - 1] == pytest.approx(np.mean(best))
        assert found.curve("pass@k").accuracy[k - 1] == pytest.approx(np.mean(oracle))


def test_the_fit_is_written_and_read_back_and_everything_is_shown(labels, tmp_path):
    evaluation = evaluate(labels, ["random(seed=3)"], out=tmp_path / "out")
    assert [one.reward for one in evaluation.judgements] == ["random(seed=3)", "logprob()", "random()"]
    written = [str(file.relative_to(tmp_path / "out")) for file in evaluation.files]
    assert written == ["random/calibration.json", "logprob/calibration.json", "random-2/calibration.json"]
    fit = Platt.load(evaluation.files[0])
    assert fit == evaluation.judgements[0].platt
    assert "480 steps of 20 problems" in fit.source
    assert all(len(row) == len(COLUMNS) for row in rows(evaluation))
    assert "120 solutions of 20 problems, hard labels" in summary_lines(evaluation)[0]
    document = json.loads(json.dumps(to_dict(evaluation)))
    assert document["rewards"][0]["auc_within"]["value"] == evaluation.judgements[0].within.value
    assert {file.suffix for file in figures(evaluation).save(tmp_path / "out")} == {".png", ".svg"}


def test_read_outs_of_stored_solutions_are_what_the_head_was_judged_on(solve, policy, tmp_path):
    solutions = solve(6, 4)
    write_labels(tmp_path / "labels.jsonl", solutions)
    train_head(tmp_path / "labels.jsonl", str(policy), tmp_path / "head", HeadTraining(held_out=0.4))
    from isoflop.runtime.loading import load_model, load_tokenizer

    model = load_model(str(policy))
    head = load_head(tmp_path / "head")
    examples = policy_examples(solutions, policy_tokens(model, load_tokenizer(str(policy))))
    for own, example in zip(PolicyStates(solutions).read_by(str(tmp_path / "head")), examples, strict=True):
        with torch.inference_mode():
            hidden_ND = model.model(torch.tensor([example.passage.tokens])).last_hidden_state[0]
        hidden_RD = hidden_ND[list(example.passage.reads)]
        assert own == pytest.approx((hidden_RD @ head.weight_1D[0] + head.bias_1).tolist(), abs=1e-4)


@pytest.mark.skipif("trunk" not in specs.names("reward"), reason="no shared-trunk reward is there")
def test_a_trained_head_is_judged_as_trunk_on_problems_it_has_not_seen(labels, policy, tmp_path):
    summary = train_head(labels, str(policy), tmp_path / "head", HeadTraining(held_out=0.4))
    evaluation = evaluate(labels, [summary["use"]], held_out_of=tmp_path / "head")
    first = evaluation.judgements[0]
    assert evaluation.problems == len(problems_of(tmp_path / "head", "held_out"))
    assert first.pooled.value == pytest.approx(summary["fits"][0]["held_out_auc"], abs=1e-4)
    assert not any("flatter" in note for note in evaluation.notes)
    seen = evaluate(labels, [summary["use"]])
    assert any("was trained on 12 of these 20 problems" in note for note in seen.notes)


def test_samples_that_no_reward_scored_are_never_taken_for_bad_ones(labels, solve, tmp_path):
    bare = [json.loads(line) for line in labels.read_text().splitlines()]
    for row in bare:
        for step in row["steps"]:
            step["logprobs"] = []
    labels.write_text("".join(json.dumps(row) + "\n" for row in bare))
    evaluation = evaluate(labels, [])
    assert [one.reward for one in evaluation.judgements] == ["random()"]
    assert any("logprob() is not judged" in note for note in evaluation.notes)
    with pytest.raises(RewardError, match="carries no log-probabilities"):
        evaluate(labels, ["logprob()"])


def bench(path, cases):
    path.write_text("".join(json.dumps({"problem": p, "steps": s, "label": label}) + "\n" for p, s, label in cases))
    return path


def test_processbench_is_scored_by_rewards_that_read_text(labels, tmp_path):
    cases = [(f"q{i}", ["one", "two", "three"], i % 4 - 1) for i in range(24)]
    path = bench(tmp_path / "bench.jsonl", cases)
    solutions = list(read_processbench(path))
    truth = [tuple(1.0 if x < 0 or place < x else 0.0 for place in range(3)) for _, _, x in cases]
    assert [one.first_error for _, one in first_errors(truth, solutions)] == [label for _, _, label in cases]
    free, chance = evaluate(labels, [], processbench=path).judgements
    assert free.first_error is None
    assert 0 <= chance.first_error.f1 < 1
    assert chance.first_error.samples == 12  # the threshold was chosen on the other half
    assert len(score(specs.parse("reward", "random()"), solutions)) == 24


def test_wrong_files_and_folders_are_told(labels, tmp_path):
    with pytest.raises(ProblemError, match=r"line 1 is no ProcessBench row: label 3 of 2 steps"):
        list(read_processbench(bench(tmp_path / "bench.jsonl", [("q", ["a", "b"], 3)])))
    (tmp_path / "other.jsonl").write_text('{"problem": "q", "steps": ["a"]}\n')
    with pytest.raises(ProblemError, match="no 'label'; it has problem, steps and label"):
        list(read_processbench(tmp_path / "other.jsonl"))
    with pytest.raises(StudyError, match="has no summary of a training"):
        evaluate(labels, [], held_out_of=tmp_path)
