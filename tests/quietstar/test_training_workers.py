"""Two real gloo processes train thoughts as one does; from what they leave when one is killed any number goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from two_workers import end_badly, finish, start_two

from isoflop.errors import SpecError
from isoflop.quietstar import ThoughtModel
from isoflop.quietstar.training.loop import train
from isoflop.quietstar.training.state import newest

MEASURED = ("loss", "nats_text", "nats_without", "nats_with", "reward", "thought_nats", "weight")


def start(*runs, killed_after=0):
    script = Path(__file__).with_name("train_worker.py")
    return start_two(script, json.dumps([asdict(run) for run in runs]), killed_after)


def log_of(run):
    return [json.loads(line) for line in (Path(run.out) / "log.jsonl").read_text().splitlines()]


def assert_same_curves(found, expected):
    assert [line["step"] for line in log_of(found)] == list(range(1, expected.steps + 1))
    for one, two in zip(log_of(expected), log_of(found), strict=True):
        for name in MEASURED:
            # the reference multiplies its policy term by a million: float32 has no more digits of that
            scaled = {"rel": 1e-4} if expected.recipe == "faithful" and name == "loss" else {}
            assert two[name] == pytest.approx(one[name], abs=1e-4, **scaled), (found.out, one["step"], name)
        for name in (name for name in one if name.startswith("gradient_norm")):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5), (found.out, one["step"], name)


@pytest.fixture
def global_batch(settings):
    """An update of 5 windows of unequal length, and as many places as there are: two workers share nothing alike."""
    return replace(settings, batch=1, accumulate=5, positions="all", length=16, warmup_steps=2)


def test_two_workers_have_the_loss_curves_of_one(global_batch, tmp_path):
    """With all weights each and cut up, adapters too; and two go on, cut up, from what one has left."""
    more = {"base_rate": 1e-2, "lora_rank": 2}
    kinds = {
        "corrected": global_batch,
        "faithful": replace(global_batch, recipe="faithful", gate_rate=1e-2, gate_nats=0.01),
        "never": replace(global_batch, control="never", steps=2),
        "adapters": replace(global_batch, **more),
        "adapters cut up": replace(global_batch, **more, shard=True),
        "cut up": replace(global_batch, shard=True),
    }
    alone = {name: replace(run, out=str(tmp_path / "one" / name)) for name, run in kinds.items()}
    together = {name: replace(run, out=str(tmp_path / "two" / name)) for name, run in kinds.items()}
    for run in alone.values():
        train(run)
    train(together["cut up"])
    shutil.rmtree(Path(together["cut up"].out) / "checkpoint-000004")
    finish(start(*together.values()))

    for name, run in together.items():
        assert_same_curves(run, alone[name])
        last = f"checkpoint-{run.steps:06d}"
        one, two = (ThoughtModel.load(Path(each.out) / last).state_dict() for each in (alone[name], run))
        for key, tensor in one.items():
            torch.testing.assert_close(two[key], tensor, rtol=0, atol=2e-4, msg=f"{name}: {key}")


def test_a_killed_worker_leaves_a_checkpoint_that_one_process_goes_on_with(global_batch, tmp_path):
    """The one that writes is killed after a step."""
    alone = replace(global_batch, steps=5, save_every=1, shard=True)
    together = replace(alone, out=str(tmp_path / "two"))
    train(alone)
    end_badly(start(together, killed_after=3))
    assert newest(Path(together.out)) == 3
    train(together)
    assert_same_curves(together, alone)


def test_an_update_is_one_large_batch_however_it_is_cut(settings, tmp_path):
    parts = replace(settings, batch=1, accumulate=4)
    at_once = replace(settings, batch=4, accumulate=1, out=str(tmp_path / "at once"))
    for run in (parts, at_once):
        train(run)
    assert_same_curves(at_once, parts)


def test_what_cannot_be_cut_up_is_refused(settings):
    for whole in ({"reward_decay": 0.9}, {"optimizer": "muon"}):
        with pytest.raises(SpecError, match="shard=True cuts weights up"):
            replace(settings, shard=True, **whole)
