"""Training a head: what it learns, what it reads, what it keeps apart, and what it refuses."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from isoflop.errors import ModelError, StoreError, StudyError
from isoflop.reward_training import hidden
from isoflop.reward_training.examples import policy_examples, policy_tokens
from isoflop.reward_training.folder import problems_of
from isoflop.reward_training.head_fit import HeadOptions
from isoflop.reward_training.labels import write_labels
from isoflop.reward_training.sources import read_solutions
from isoflop.reward_training.split import held_out_problems
from isoflop.reward_training.train_head import HeadTraining, train_head
from isoflop.rewards.head_folder import load_head
from isoflop.runtime.loading import load_model, load_tokenizer
from isoflop.runtime.runner import Runner


def examples_of(policy, solutions):
    model = load_model(str(policy))
    return model, policy_examples(solutions, policy_tokens(model, load_tokenizer(str(policy))))


def test_a_planted_signal_is_learnt_and_shown_on_problems_held_out(labels, policy, tmp_path):
    out = tmp_path / "head"
    summary = train_head(labels, str(policy), out, HeadTraining(held_out=0.3))
    [head] = summary["fits"]
    assert head["held_out_auc"] > 0.9
    assert head["held_out_auc_within"] > 0.9
    assert abs(head["logprob_auc_within"] - 0.5) < 0.2
    assert load_head(out).trunk == str(policy)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert len(lines) == head["epochs"]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert min(lines, key=lambda line: line["held_out_loss"])["epoch"] == head["best_epoch"]
    assert "AUC within" in (out / "README.md").read_text()
    assert problems_of(out, "held_out") & problems_of(out, "trained_on") == set()
    assert len(problems_of(out, "held_out")) == 6
    assert problems_of(tmp_path, "held_out") is None


def test_the_saved_head_is_the_one_that_was_judged(solve, policy, tmp_path):
    """Scores of the saved folder, by a forward of each solution alone, give the AUC that the summary states."""
    from isoflop.stats.discrimination import auc

    solutions = solve(12)
    write_labels(tmp_path / "labels.jsonl", solutions)
    summary = train_head(
        tmp_path / "labels.jsonl", str(policy), tmp_path / "head", HeadTraining(held_out=0.4, features="logprob")
    )
    head, [told] = load_head(tmp_path / "head"), summary["fits"]
    model, examples = examples_of(policy, [one for one in solutions if one.problem in told["held_out"]])
    scores, right = [], []
    for example in examples:
        with torch.inference_mode():
            hidden_ND = model.model(torch.tensor([example.passage.tokens])).last_hidden_state[0]
        for read, step, target in zip(example.passage.reads, example.steps, example.targets, strict=True):
            readout = float(hidden_ND[read] @ head.weight_1D[0] + head.bias_1)
            scores.append(head.logit(readout, step.logprobs))
            right.append(target >= 0.5)
    assert auc(scores, right) == pytest.approx(told["held_out_auc"])


def test_states_are_those_that_chose_each_steps_last_token(solve, policy):
    solutions = solve(3, 2)
    solutions[0] = replace(solutions[0], steps=(replace(solutions[0].steps[0], label=None), *solutions[0].steps[1:]))
    model, examples = examples_of(policy, solutions)
    tokenizer = load_tokenizer(str(policy))
    passages = [example.passage for example in examples]
    reader = hidden.StateReader(copy.deepcopy(model), context_tokens=hidden.context_of(passages))
    for solution, states_RD in zip(solutions, reader.read(passages), strict=True):
        ids = tokenizer(solution.prompt)["input_ids"]
        expected = []
        for step in solution.steps:
            ids = [*ids, *step.tokens]
            if step.label is not None:
                with torch.inference_mode():
                    expected.append(model.model(torch.tensor([ids[:-1]])).last_hidden_state[0, -1])
        assert torch.allclose(states_RD, torch.stack(expected), atol=1e-5)


def test_a_killed_extraction_goes_on_and_ends_the_same(labels, policy, tmp_path, monkeypatch):
    monkeypatch.setattr(hidden, "PIECE", 50)
    whole = train_head(labels, str(policy), tmp_path / "whole", HeadTraining())
    computed, read, most = [], hidden.StateReader.read, 1

    def counted(reader, passages):
        if len(computed) == most:
            raise KeyboardInterrupt
        computed.append(len(passages))
        return read(reader, passages)

    monkeypatch.setattr(hidden.StateReader, "read", counted)
    with pytest.raises(KeyboardInterrupt):
        train_head(labels, str(policy), tmp_path / "cut", HeadTraining())
    most = 3
    resumed = train_head(labels, str(policy), tmp_path / "cut", HeadTraining())
    assert computed == [50, 50, 20]
    assert torch.equal(load_head(tmp_path / "cut").weight_1D, load_head(tmp_path / "whole").weight_1D)
    assert resumed["fits"][0]["held_out_auc"] == whole["fits"][0]["held_out_auc"]


def test_what_solutions_begin_with_alike_is_computed_once(solve, policy, monkeypatch):
    model, examples = examples_of(policy, solve(2, 6))
    passages = [example.passage for example in examples]
    reader = hidden.StateReader(model, context_tokens=hidden.context_of(passages))
    tokens, step = [], Runner.step

    def counted(runner, batch, **how):
        tokens.extend(map(len, batch.segment_tokens))
        return step(runner, batch, **how)

    monkeypatch.setattr(Runner, "step", counted)
    reader.read(passages)
    prefixes = {passage.tokens[:end] for passage in passages for end in range(1, len(passage.tokens) + 1)}
    assert sum(tokens) == len(prefixes) < sum(len(passage.tokens) for passage in passages)


def test_states_of_other_weights_are_not_taken_for_these(solve, policy, tmp_path):
    model, examples = examples_of(policy, solve(2, 2))
    passages = [example.passage for example in examples]
    before = hidden.cached_states(copy.deepcopy(model), passages, tmp_path)
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    after = hidden.cached_states(model, passages, tmp_path)
    assert torch.allclose(after[0], 2 * before[0], atol=1e-5)


def test_trainings_on_the_same_labels_share_states(labels, policy, tmp_path, monkeypatch):
    alone = train_head(labels, str(policy), tmp_path / "alone", HeadTraining(features="logprob"))
    train_head(labels, str(policy), tmp_path / "first", HeadTraining())

    def refused(reader, passages):
        raise AssertionError("these states are there already")

    monkeypatch.setattr(hidden.StateReader, "read", refused)
    kept = tmp_path / "first" / "states"
    shared = train_head(labels, str(policy), tmp_path / "second", HeadTraining(features="logprob"), states=kept)
    assert shared["fits"][0]["held_out_auc"] == alone["fits"][0]["held_out_auc"]
    assert not (tmp_path / "second" / "states").exists()


def test_several_seeds_make_several_heads_with_splits_of_their_own(labels, policy, tmp_path):
    training = HeadTraining(seeds=(0, 1), options=HeadOptions(epochs=3))
    summary = train_head(labels, str(policy), tmp_path / "heads", training)
    first, second = summary["fits"]
    assert first["held_out"] != second["held_out"]
    for head in summary["fits"]:
        assert set(head["held_out"]).isdisjoint(head["trained_on"])
        assert problems_of(head["folder"], "held_out") == set(head["held_out"])
        assert load_head(head["folder"]).hidden_size == 32


def test_a_problem_is_never_on_both_sides_and_order_does_not_matter():
    problems = [f"p{i}" for i in range(30)]
    held = held_out_problems(problems * 3, 0.1, seed=4)
    assert len(held) == 3
    assert held == held_out_problems(reversed(problems), 0.1, seed=4)
    with pytest.raises(StudyError, match="at least two are needed"):
        held_out_problems(["p"], 0.1, 0)
    with pytest.raises(StudyError, match="held-out share 1: it must lie between 0 and 1"):
        held_out_problems(problems, 1, 0)


def test_samples_that_arms_share_are_taken_once(solve, tmp_path):
    solutions = solve(2, 3)
    again = [replace(solution, arm="other") for solution in solutions[:2]]
    write_labels(tmp_path / "labels.jsonl", [*again, *solutions, solutions[0]])
    assert len(read_solutions(tmp_path / "labels.jsonl")) == 7  # the arm's own equal draws stay


def changed(solution, how):
    steps = solution.steps
    if how == "right":
        return replace(solution, steps=tuple(replace(step, label=1.0) for step in steps))
    if how == "unlabelled":
        return replace(solution, steps=tuple(replace(step, label=None) for step in steps))
    if how == "foreign":
        return replace(solution, steps=tuple(replace(step, tokens=step.tokens[::-1]) for step in steps))
    if how == "beyond":
        return replace(solution, steps=(replace(steps[0], tokens=(100_000,)), *steps[1:]))
    if how == "tokenless":
        return replace(solution, steps=(replace(steps[0], tokens=()), *steps[1:]))
    return replace(solution, steps=(replace(steps[0], logprobs=()), *steps[1:]))


@pytest.mark.parametrize(
    ("how", "error", "reason"),
    [
        ("right", StudyError, "all 24 labels say right .* nothing to tell apart"),
        ("unlabelled", StudyError, "holds 6 solutions and no label; `isoflop reward label` makes some"),
        ("foreign", ModelError, "problem 'p0': the tokens of the step '.*' spell .* give that one as --model"),
        ("beyond", ModelError, "in this model's tokenizer"),
        ("tokenless", StudyError, "steps without tokens; a head reads the policy's own tokens"),
        ("silent", StudyError, "has no log-probabilities, which --features reads"),
    ],
)
def test_labels_that_teach_nothing_are_refused(solve, policy, tmp_path, how, error, reason):
    write_labels(tmp_path / "labels.jsonl", [changed(solution, how) for solution in solve(2, 3)])
    with pytest.raises(error, match=reason):
        train_head(tmp_path / "labels.jsonl", str(policy), tmp_path / "out", HeadTraining(features="logprob"))
    assert not (tmp_path / "out").exists()


def test_another_folder_another_training_and_another_kind_are_refused(labels, policy, tmp_path):
    with pytest.raises(ModelError, match="model folder '/nowhere' does not exist"):
        train_head(labels, "/nowhere", tmp_path / "out", HeadTraining())
    with pytest.raises(StudyError, match="no labels of kind 'soft'; it holds hard"):
        train_head(labels, str(policy), tmp_path / "out", HeadTraining(kind="soft"))
    with pytest.raises(StoreError, match="holds other files and no training"):
        train_head(labels, str(policy), tmp_path, HeadTraining())
    short = HeadTraining(options=HeadOptions(epochs=1))
    train_head(labels, str(policy), tmp_path / "out", short)
    train_head(labels, str(policy), tmp_path / "out", short)
    with pytest.raises(StoreError, match=r"another training \(features=None, asked now: 'logprob'"):
        train_head(labels, str(policy), tmp_path / "out", replace(short, features="logprob"))
