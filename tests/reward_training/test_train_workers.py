"""Two real processes over gloo train as one does; from what they leave when one is killed any number goes on."""

import json
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from two_workers import SECONDS, end_badly, finish, start_two

from isoflop.reward_training import train_loop
from isoflop.reward_training.labels import write_labels
from isoflop.reward_training.train_model import train_model
from isoflop.reward_training.train_options import ModelOptions, ModelTraining

OPTIONS = ModelOptions(
    learning_rate=1e-3, epochs=3, patience=3, batch_solutions=5, at_once=2, save_every=1, lora_rank=4
)


def start(out, labels, policy, training):
    return start_two(Path(__file__).with_name("train_worker.py"), out, labels, policy, repr(training))


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "updates.jsonl").read_text().splitlines()]


def saved(out):
    """Updates that the newest checkpoint holds."""
    return max([int(path.name.split("-")[1]) for path in out.glob("resume/update-*")], default=0)


@pytest.fixture
def labels(solve, tmp_path):
    """Few, and not a multiple of the batch or of the workers."""
    write_labels(tmp_path / "labels.jsonl", solve(9, 3))
    return tmp_path / "labels.jsonl"


class Killed(Exception):
    pass


def test_two_sharded_workers_go_on_from_one_process_with_its_loss_curve(labels, policy, tmp_path, monkeypatch):
    training = ModelTraining(method="full", held_out=0.3, options=replace(OPTIONS, shard=True))
    train_model(labels, str(policy), tmp_path / "one", training)
    update = train_loop.Loop._update

    def killed(self, *given):
        if self.progress.updates == 1:
            raise Killed
        update(self, *given)

    monkeypatch.setattr(train_loop.Loop, "_update", killed)
    with pytest.raises(Killed):
        train_model(labels, str(policy), tmp_path / "two", training)
    finish(start(tmp_path / "two", labels, policy, training))
    assert len(losses(tmp_path / "one")) > 6
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    one, two = (json.loads((tmp_path / name / "summary.json").read_text())["fits"][0] for name in ("one", "two"))
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], abs=1e-4)


def test_a_worker_that_is_killed_leaves_a_checkpoint_that_one_process_goes_on_with(labels, policy, tmp_path):
    """Two workers with all weights each (DDP), and LoRA."""
    training = ModelTraining(method="lora", held_out=0.3, options=replace(OPTIONS, epochs=12, patience=12))
    train_model(labels, str(policy), tmp_path / "one", training)
    first, second = start(tmp_path / "two", labels, policy, training)
    until = time.monotonic() + SECONDS
    while saved(tmp_path / "two") < 8 and time.monotonic() < until and first.poll() is None:
        time.sleep(0.005)
    second.send_signal(signal.SIGKILL)
    end_badly((first, second))
    assert saved(tmp_path / "two") >= 8
    assert not (tmp_path / "two" / "summary.json").exists()
    train_model(labels, str(policy), tmp_path / "two", training)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
