"""The training loop: accelerate underneath, a line of JSON per step, checkpoints from which a killed run goes on.

    train(Training(model="DIR", data="text.jsonl", out="runs/thoughts", steps=100))
    ThoughtModel.load("runs/thoughts/checkpoint-000100")

What a step draws follows from the seed and the step's number; with weights and optimiser restored, a run that was
killed ends at the weights of one that was not. Weights stay in float32; `precision="bf16"` only multiplies in bfloat16.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from isoflop.errors import MissingExtraError, SpecError
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.data import Windows, read_documents
from isoflop.quietstar.training.opening import lengths_of, open_model, seed_filler
from isoflop.quietstar.training.parameters import optimizer_of, rate_share
from isoflop.quietstar.training.samples import Sample, samples_of
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.shorten import n_ahead_at
from isoflop.quietstar.training.state import Trained, claim, folder_of, newest
from isoflop.quietstar.training.step import Distilling, TrainingStep
from isoflop.runtime.loading import load_tokenizer

LOG, SAMPLES = "log.jsonl", "thoughts.jsonl"
SAMPLES_SHOWN = 3
Line = dict[str, Any]


def train(
    settings: Training,
    after_step: Callable[[Line], None] = lambda line: None,
    show: Callable[[Sample], None] = lambda sample: None,
) -> Path:
    """Run to the last step, from the newest checkpoint in `out` where there is one; its folder is returned.

    `after_step` is told what is logged of each step; at each checkpoint some thoughts are shown."""
    out = Path(settings.out)
    run = Run(settings)
    done = newest(out)
    _forget_after(out, done)
    for step in range(done, settings.steps):
        saves = (step + 1) % settings.save_every == 0 or step + 1 == settings.steps
        line, samples = run.step(step, samples=SAMPLES_SHOWN if saves else 0)
        _append(out / LOG, [line])
        if saves:
            _append(out / SAMPLES, [{"step": step + 1, **asdict(sample)} for sample in samples])
            run.trained.save(out, step + 1, run.tokenizer, plain=settings.recipe == "distilled")
        after_step(line)
        for sample in samples:
            show(sample)
    return folder_of(out, settings.steps)


class Run:
    """A run as it stands: opened from its settings, and from its newest checkpoint where there is one."""

    def __init__(self, settings: Training) -> None:
        self.settings, self._accelerator = settings, _accelerator()
        out = Path(settings.out)
        claim(out, settings)
        documents = read_documents(settings.data)
        self.tokenizer = load_tokenizer(settings.model)
        model = open_model(settings, self.tokenizer)
        self._lengths = lengths_of(settings, model)
        self._windows = Windows(self.tokenizer, documents, settings.length, settings.seed, model.config.thought_ids)
        filler = seed_filler(settings, model, documents, self.tokenizer)
        teacher = deepcopy(model).requires_grad_(False) if settings.recipe == "distilled" else None
        optimizer = optimizer_of(model, settings)
        average = PlainAverage(model.base, settings.reward_decay) if settings.reward_decay else None
        step = (
            TrainingStep(model, settings, filler, average) if teacher is None else Distilling(model, settings, teacher)
        )
        self.trained = Trained(model, self._accelerator.prepare(step), optimizer, average)
        if done := newest(out):
            self.trained.restore(folder_of(out, done))

    def step(self, step: int, samples: int) -> tuple[Line, Sequence[Sample]]:
        """One update; what is logged of it, a mean over its batches, and some thoughts of the last one."""
        settings, trained = self.settings, self.trained
        began, lines, tokens, seeded = time.perf_counter(), [], 0, settings.seeded(step)
        model, optimizer = trained.model, trained.optimizer
        model.config = replace(model.config, n_ahead=n_ahead_at(step, settings.steps, self._lengths))
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * rate_share(step, settings)
        for part in range(settings.accumulate):
            micro = step * settings.accumulate + part
            batch = self._windows.batch(micro, settings.batch)
            # accelerate's own mixed precision is one setting for a whole process, a notebook's second run included
            bfloat16 = settings.precision == "bf16"
            with torch.autocast(self._accelerator.device.type, torch.bfloat16, enabled=bfloat16):
                outcome = trained.module(batch, micro, seeded)
            self._accelerator.backward(outcome.total / settings.accumulate)
            lines.append(outcome.figures)
            tokens += int(batch.real_BS.sum())
        norms = {f"gradient_norm_{group['name']}": _norm(group["params"]) for group in optimizer.param_groups}
        self._accelerator.clip_grad_norm_(trained.module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if trained.average:
            trained.average.follow(model.base)
        means = {name: sum(line[name] for line in lines) / len(lines) for name in lines[0]}
        rate = tokens / (time.perf_counter() - began)
        told = {"step": step + 1, "seeded": seeded, "n_ahead": model.config.n_ahead, **means, **norms}
        found = samples_of(batch, outcome.losses, outcome.rollout, self.tokenizer, count=samples, seed=step)
        return _without_nan({**told, "tokens_per_second": rate}), found


def _accelerator() -> Any:
    try:
        from accelerate import Accelerator
    except ImportError:
        raise MissingExtraError("training needs the package `accelerate`: pip install 'isoflop[train]'") from None
    found = Accelerator()
    if found.num_processes > 1:
        raise SpecError(f"training runs in one process, not in {found.num_processes}; start it without a launcher")
    return found


def _norm(parameters: list[torch.Tensor]) -> float:
    found = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
    return float(torch.stack(found).norm()) if found else 0.0


def _without_nan(line: Line) -> Line:
    """What was not measured is null: JSON knows no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in line.items()}


def _append(path: Path, lines: Sequence[Line]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def _forget_after(out: Path, step: int) -> None:
    """Steps after the checkpoint that a killed run goes on from are made, and logged, once more."""
    for path in (out / LOG, out / SAMPLES):
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            # a line that was cut off by the kill is the last one, and later than any checkpoint
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
