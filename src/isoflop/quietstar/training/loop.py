"""The training loop: accelerate underneath, a line of JSON per step, checkpoints from which a killed run goes on.

    train(Training(model="DIR", data="text.jsonl", out="runs/thoughts", steps=100))
    ThoughtModel.load("runs/thoughts/checkpoint-000100")

An update is one large batch, however it is cut: into forwards, or over the workers that torchrun or accelerate launch
starts. Losses are divided by the counts of all, and what is drawn for a window follows from its number. So the curve
is that of one process, and a run that was killed, gone on with by any number of workers, ends at the weights of one
that was not. Weights stay in float32; `precision="bf16"` only multiplies in bfloat16.
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

from isoflop.errors import SpecError
from isoflop.quietstar.counts import Counts
from isoflop.quietstar.training.average import PlainAverage
from isoflop.quietstar.training.data import Batch, Windows, read_documents
from isoflop.quietstar.training.opening import lengths_of, open_model, seed_filler
from isoflop.quietstar.training.parameters import choose_trained, optimizer_of, rate_share
from isoflop.quietstar.training.samples import Sample, samples_of
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.shorten import n_ahead_at
from isoflop.quietstar.training.state import Trained, claim, folder_of, newest
from isoflop.quietstar.training.step import Distilling, TrainingStep
from isoflop.runtime.loading import load_tokenizer
from isoflop.runtime.workers import exchange, gathered, open_workers, shares, spread, whole

LOG, SAMPLES = "log.jsonl", "thoughts.jsonl"
SAMPLES_SHOWN = 3
Line = dict[str, Any]


def train(
    settings: Training,
    after_step: Callable[[Line], None] = lambda line: None,
    show: Callable[[Sample], None] = lambda sample: None,
) -> Path:
    """Run to the last step, from the newest checkpoint in `out` where there is one; its folder is returned.

    `after_step` is told what is logged of each step; at each checkpoint some thoughts are shown. Of several workers all
    compute, and the first one writes and tells."""
    out = Path(settings.out)
    run = Run(settings)
    for step in range(newest(out), settings.steps):
        saves = (step + 1) % settings.save_every == 0 or step + 1 == settings.steps
        line, samples = run.step(step, samples=SAMPLES_SHOWN if saves else 0)
        if run.workers.is_main_process:
            _append(out / LOG, [line])
            _append(out / SAMPLES, [{"step": step + 1, **asdict(sample)} for sample in samples])
        if saves:
            run.trained.save(out, step + 1, run.tokenizer, plain=settings.recipe == "distilled")
        if run.workers.is_main_process:
            after_step(line)
            for sample in samples:
                show(sample)
    return folder_of(out, settings.steps)


class Run:
    """A run as it stands: opened from its settings, and from its newest checkpoint where there is one."""

    def __init__(self, settings: Training) -> None:
        self.settings, self.workers = settings, open_workers("auto")
        if settings.control == "shuffled" and self.workers.num_processes > 1:
            raise SpecError("control='shuffled' takes a thought of the same forward; train it in one process")
        out = Path(settings.out)
        if self.workers.is_main_process:
            claim(out, settings)
            _forget_after(out, newest(out))
        self.workers.wait_for_everyone()
        documents = read_documents(settings.data)
        self.tokenizer = load_tokenizer(settings.model)
        model = open_model(settings, self.tokenizer)
        self._lengths = lengths_of(settings, model)
        self._windows = Windows(self.tokenizer, documents, settings.length, settings.seed, model.config.thought_ids)
        filler = seed_filler(settings, model, documents, self.tokenizer)
        teacher = deepcopy(model).requires_grad_(False) if settings.recipe == "distilled" else None
        choose_trained(model, settings)
        average = PlainAverage(model.base, settings.reward_decay) if settings.reward_decay else None
        self._step = (
            TrainingStep(model, settings, filler, average) if teacher is None else Distilling(model, settings, teacher)
        )
        module = spread(self._step, self.workers, settings.shard)
        self.trained = Trained(self.workers, model, module, optimizer_of(model, settings), average)
        if done := newest(out):
            self.trained.restore(folder_of(out, done))

    def step(self, step: int, samples: int) -> tuple[Line, Sequence[Sample]]:
        """One update; what is logged of it, and some thoughts of the last forward of this worker."""
        settings, trained, workers = self.settings, self.trained, self.workers
        began, lines, seeded = time.perf_counter(), [], settings.seeded(step)
        model, optimizer = trained.model, trained.optimizer
        model.config = replace(model.config, n_ahead=n_ahead_at(step, settings.steps, self._lengths))
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * rate_share(step, settings)
        parts, all_counts, tokens = self._parts(step, seeded)
        for number, (batch, counts) in enumerate(parts, 1):
            # accelerate's own mixed precision is one setting for a whole process, a notebook's second run included
            autocast = torch.autocast(workers.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
            with exchange(trained.module, workers, last=number == len(parts)):
                with autocast:
                    outcome = trained.module(batch, seeded, all_counts)
                # The gradients of all workers are averaged, and this is one worker's part of a sum.
                workers.backward(outcome.total * (workers.num_processes if counts else 0))
            lines += [outcome.figures] if counts else []
        lines = gathered(workers, lines)
        norms = {f"gradient_norm_{group['name']}": _norm(group["params"]) for group in optimizer.param_groups}
        torch.nn.utils.clip_grad_norm_([value for group in optimizer.param_groups for value in group["params"]], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if trained.average:
            trained.average.follow(model.base)
        sums = {name: sum(line[name] for line in lines) for name in lines[0]}
        rate = tokens / (time.perf_counter() - began)
        told = {"step": step + 1, "seeded": seeded, "n_ahead": model.config.n_ahead, **sums, **norms}
        found = samples_of(batch, outcome.losses, outcome.rollout, self.tokenizer, count=samples, seed=step)
        return _without_nan({**told, "tokens_per_second": rate}), found

    def _parts(self, step: int, seeded: bool) -> tuple[list[tuple[Batch, Counts | None]], Counts, int]:
        """This worker's forwards of an update, and the counts and tokens of all workers' together. One without counts
        is computed for nothing: the exchanges of all workers must match."""
        size = self.settings.batch * self.settings.accumulate
        numbers = range(step * size, (step + 1) * size)
        parts: list[tuple[Batch, Counts | None]] = []
        for own in shares(numbers, self.settings.batch, self.workers.process_index, self.workers.num_processes):
            batch = self._windows.batch(own or numbers[:1])
            parts.append((batch, self._step.counts(batch, seeded) if own else None))
        told = gathered(self.workers, [(counts, int(batch.real_BS.sum())) for batch, counts in parts if counts])
        return parts, sum((counts for counts, _ in told), Counts()), sum(tokens for _, tokens in told)


def _norm(parameters: list[torch.Tensor]) -> float:
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(found)))


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
