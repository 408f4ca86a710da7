"""Training a reward model of its own: what it learns, how its loss is made, what is saved, how a killed one goes on."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from typer.testing import CliRunner

from isoflop import specs
from isoflop.cli.main import app
from isoflop.core import Channel
from isoflop.errors import ModelError, SpecError, StoreError, StudyError
from isoflop.reward_training import train_loop
from isoflop.reward_training.evaluate import evaluate
from isoflop.reward_training.examples import text_examples
from isoflop.reward_training.folder import problems_of
from isoflop.reward_training.labels import LabelledStep, write_labels
from isoflop.reward_training.scoring import score
from isoflop.reward_training.sources import read_solutions
from isoflop.reward_training.train_classifier import open_classifier
from isoflop.reward_training.train_model import train_model
from isoflop.reward_training.train_options import ModelOptions, ModelTraining
from isoflop.rewards.base import RewardContext
from isoflop.rewards.encode import Encoder
from isoflop.rewards.format import TRL
from isoflop.runtime.loading import load_tokenizer
from isoflop.runtime.workers import shares
from isoflop.stats.discrimination import auc

QUICK = ModelOptions(learning_rate=5e-3, epochs=2, patience=2, batch_solutions=10, at_once=4)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(folder):
    return load_file(folder / "model.safetensors")


def differ(one, other):
    """The largest difference of two folders' weights."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_saved_is_an_ordinary_folder_that_token_prm_loads(labels, policy, tmp_path, method):
    """A planted signal is learnt; the folder, opened by its name alone, has the AUC that its summary states."""
    out = tmp_path / "reward"
    training = ModelTraining(method=method, held_out=0.3, separator="\n\n", options=replace(QUICK, epochs=3))
    summary = train_model(labels, str(policy), out, training)
    [fit] = summary["fits"]
    assert fit["held_out_auc"] > 0.9
    assert summary["use"] == f"token_prm({str(out)!r})"
    held = [solution for solution in read_solutions(labels) if solution.problem in fit["held_out"]]
    rewards = score(specs.parse("reward", summary["use"]), held)
    notes = evaluate(labels, [f"ensemble([logprob(), {summary['use']}])"]).notes
    assert any("was trained on 14 of these 20 problems" in note for note in notes)
    told = auc([each for path in rewards for each in path], [label >= 0.5 for one in held for label in one.labels])
    assert told == pytest.approx(fit["held_out_auc"])
    config = json.loads((out / "config.json").read_text())
    assert config["step_reward"] == {"opening": "{bos}{question}\n", "positive": 1, "separator": "\n\n"}
    assert config["id2label"] == {"0": "wrong", "1": "right"}
    assert not any("lora" in name for name in weights(out))
    assert not (out / "resume").exists()
    assert [line["epoch"] for line in lines(out / "log.jsonl")] == [1, 2, 3]
    assert lines(out / "updates.jsonl")[-1]["loss"] < lines(out / "updates.jsonl")[0]["loss"]
    assert f"--method {method}" in (out / "README.md").read_text()
    assert problems_of(out, "held_out") & problems_of(out, "trained_on") == set()
    with pytest.raises(
        ModelError, match=r"separator='\\n'\): the checkpoint was trained with '\\n\\n'; leave separator"
    ):
        specs.parse("reward", f"token_prm({str(out)!r}, separator='\\n')").open(RewardContext())


def test_the_loss_is_the_mean_over_all_labelled_steps_of_the_batch(solve, policy, tmp_path):
    """By a direct forward of each solution alone; steps without a label, and soft labels, among them."""
    solutions = solve(6, 3)
    solutions = [
        replace(
            one,
            steps=tuple(
                replace(step, label=None if n == i % 3 else step.label * 0.7) for n, step in enumerate(one.steps)
            ),
        )
        for i, one in enumerate(solutions)
    ]
    write_labels(tmp_path / "labels.jsonl", solutions)
    training = ModelTraining(method="full", held_out=0.3, options=replace(QUICK, batch_solutions=100, epochs=1))
    train_model(tmp_path / "labels.jsonl", str(policy), tmp_path / "out", training)
    model, tokenizer = open_classifier(str(policy), training, seed=0), load_tokenizer(str(policy))
    losses = []
    for solution in solutions:
        if solution.problem not in problems_of(tmp_path / "out", "trained_on"):
            continue
        ids = tokenizer(solution.question + "\n", add_special_tokens=False)["input_ids"]
        for step in solution.steps:
            ids = ids + tokenizer(step.text.strip() + "\n", add_special_tokens=False)["input_ids"]
            if step.label is not None:
                with torch.inference_mode():
                    wrong, right = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], dim=0).tolist()
                losses.append(-step.label * right - (1 - step.label) * wrong)
    [line] = lines(tmp_path / "out" / "updates.jsonl")
    assert line["steps"] == len(losses)
    assert line["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_the_same_update_however_the_batch_is_cut(labels, policy, tmp_path):
    for at_once in (1, 7):
        options = replace(QUICK, epochs=1, at_once=at_once)
        train_model(labels, str(policy), tmp_path / str(at_once), ModelTraining(method="full", options=options))
    assert differ(tmp_path / "1", tmp_path / "7") < 1e-4


class Killed(Exception):
    pass


@pytest.mark.parametrize(("method", "after"), [("lora", 3), ("full", 11)])
def test_a_training_that_was_cut_short_ends_at_the_weights_of_one_that_was_not(
    labels, policy, tmp_path, monkeypatch, method, after
):
    training = ModelTraining(method=method, held_out=0.2, options=replace(QUICK, save_every=2))
    whole = train_model(labels, str(policy), tmp_path / "whole", training)
    update, done = train_loop.Loop._update, []

    def killed(self, *given):
        if len(done) == after:
            raise Killed
        update(self, *given)
        done.append(given)

    monkeypatch.setattr(train_loop.Loop, "_update", killed)
    with pytest.raises(Killed):
        train_model(labels, str(policy), tmp_path / "cut", training)
    with pytest.raises(StoreError, match=r"held_out=0.2, asked now: 0.3"):
        train_model(labels, str(policy), tmp_path / "cut", replace(training, held_out=0.3))
    monkeypatch.setattr(train_loop.Loop, "_update", update)
    resumed = train_model(labels, str(policy), tmp_path / "cut", training)
    assert differ(tmp_path / "whole", tmp_path / "cut") == 0.0
    for log in ("log.jsonl", "updates.jsonl"):
        assert (tmp_path / "cut" / log).read_text() == (tmp_path / "whole" / log).read_text()
    assert resumed["fits"][0]["held_out_auc"] == whole["fits"][0]["held_out_auc"]
    monkeypatch.setattr(train_loop.Loop, "_update", killed)  # a finished training has nothing left to do
    assert train_model(labels, str(policy), tmp_path / "cut", training)["fits"] == resumed["fits"]


def test_it_stops_by_problems_held_out_and_keeps_the_best_epoch(solve, policy, tmp_path):
    """Labels by chance: what is learnt on some problems is worth nothing on others."""
    chance = torch.Generator().manual_seed(0)
    noisy = [
        replace(
            one, steps=tuple(replace(step, label=float(torch.rand(1, generator=chance) < 0.5)) for step in one.steps)
        )
        for one in solve(10, 2)
    ]
    write_labels(tmp_path / "labels.jsonl", noisy)
    training = ModelTraining(
        method="full", seeds=(3, 4), held_out=0.3, options=replace(QUICK, epochs=30, patience=2, learning_rate=1e-2)
    )
    summary = train_model(tmp_path / "labels.jsonl", str(policy), tmp_path / "out", training)
    assert summary["use"] == f"token_prm({str(tmp_path / 'out' / 'seed-3')!r})"
    assert summary["fits"][0]["held_out"] != summary["fits"][1]["held_out"]
    for fit in summary["fits"]:
        losses = [line["held_out_loss"] for line in lines(tmp_path / "out" / f"seed-{fit['seed']}" / "log.jsonl")]
        assert len(losses) == fit["epochs"] == fit["best_epoch"] + 2
        assert fit["held_out_loss"] == min(losses)


def test_think_steps_are_shown_latent_ones_never_and_what_does_not_fit_is_left_out_whole(solve, policy):
    solution = solve(1, 1)[0]
    hidden = LabelledStep("secret", None, channel=Channel.LATENT)
    thought = LabelledStep("hm", None, channel=Channel.THINK)
    shown = replace(solution, steps=(hidden, thought, *solution.steps))
    right = replace(solution, steps=tuple(replace(step, label=1.0) for step in solution.steps))
    wrong = replace(solution, steps=tuple(replace(step, label=0.0, text="no " * 99) for step in solution.steps))
    tokenizer = load_tokenizer(str(policy))
    examples, too_long = text_examples([shown, right, wrong], Encoder(TRL, tokenizer), 200)
    assert (len(examples), too_long) == (2, 1)
    text = tokenizer.decode(examples[0].passage.tokens)
    assert "hm\n" in text
    assert "secret" not in text
    marks = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert [examples[0].passage.tokens[read] for read in examples[0].passage.reads] == marks * 4
    with pytest.raises(StudyError, match="none of the 3 labelled solutions fits into the model's context of 5"):
        text_examples([shown, right, wrong], Encoder(TRL, tokenizer), 5)


@given(st.lists(st.integers(), unique=True, max_size=40), st.integers(1, 5), st.integers(1, 4))
def test_workers_share_a_batch_and_have_as_many_forwards_each(places, at_once, workers):
    parts = [shares(places, at_once, worker, workers) for worker in range(workers)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(place for part in parts for forward in part for place in forward) == sorted(places)
    assert all(len(forward) <= at_once for part in parts for forward in part)


def test_what_cannot_be_trained_is_refused(labels, policy, tmp_path):
    def refused(error, match, model=policy, training=None, **how):
        with pytest.raises(error, match=match):
            train_model(labels, str(model), tmp_path / "out", training or ModelTraining(), **how)

    refused(
        SpecError,
        "dtype='float16': a model is trained in float32, with products in float32 or bfloat16",
        dtype="float16",
    )
    refused(SpecError, "device='tpu': a model is trained on auto, cpu or cuda", device="tpu")
    refused(ModelError, "model folder '/nowhere' does not exist", model="/nowhere")
    refused(
        StudyError,
        r"update \d+: the loss is .* lower the learning rate",
        training=ModelTraining(options=replace(QUICK, learning_rate=1e30)),
    )
    with pytest.raises(SpecError, match="learning_rate=0: more than 0"):
        ModelOptions(learning_rate=0)
    with pytest.raises(SpecError, match=r"opening='Q' does not hold \{question\}"):
        ModelTraining(opening="Q")


def test_a_classifier_of_another_kind_is_refused_with_what_reads_it(policy, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(policy).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"is a sequence classifier, read by outcome\(\); training starts from"):
        open_classifier(str(tmp_path), ModelTraining(), seed=0)


def test_as_it_is_typed(labels, policy, tmp_path, monkeypatch):
    given = ["reward", "train", str(labels), "--model", str(policy), "--out", str(tmp_path / "out"), "--method", "lora"]
    given += ["--epochs", "1", "--rank", "2", "--batch", "40", "--at-once", "40", "--held-out", "0.3", "--json"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    assert "seed 0, epoch 1 (3 updates): loss" in found.stdout
    assert json.loads(found.stdout.splitlines()[-1])["use"] == f"token_prm({str(tmp_path / 'out')!r})"
    monkeypatch.setenv("RANK", "1")  # of several workers the first one alone speaks
    assert CliRunner().invoke(app, given).stdout == ""
