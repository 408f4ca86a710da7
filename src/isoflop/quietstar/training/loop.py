"""The training loop: accelerate underneath, a line of JSON per step, checkpoints from which a killed run goes on.

    train(Training(model="DIR", data="text.jsonl", out="runs/thoughts", steps=100))
    ThoughtModel.load("runs/thoughts/checkpoint-000100")

What a step draws follows from the seed and the step's number; with weights and optimiser restored, a run that was
killed ends at the weights of one that was not. Weights stay in float32; `precision="bf16"` only multiplies in bfloat16.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isoflop.errors import MissingExtraError, ProblemError, SpecError
from isoflop.quietstar.checkpoint import DASH, has_thoughts
from isoflop.quietstar.loss import Losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.training.data import Document, Windows, read_documents
from isoflop.quietstar.training.parameters import groups_of, rate_share
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.state import claim, folder_of, newest, restore, save
from isoflop.quietstar.training.step import TrainingStep
from isoflop.quietstar.training.traces import filler_token
from isoflop.runtime.loading import load_model, load_tokenizer


def train(settings: Training, after_step: Callable[[dict[str, Any]], None] = lambda line: None) -> Path:
    """Run to the last step, from the newest checkpoint in `out` where there is one; its folder is returned."""
    accelerator = _accelerator()
    out = Path(settings.out)
    claim(out, settings)
    documents = read_documents(settings.data)
    tokenizer = load_tokenizer(settings.model)
    model = _thinking_model(settings, tokenizer)
    windows = Windows(tokenizer, documents, settings.length, settings.seed, model.config.thought_ids)
    filler = _seed_filler(settings, model, documents, tokenizer)
    optimizer = torch.optim.AdamW(groups_of(model, settings), weight_decay=0.001)
    prepared = accelerator.prepare(TrainingStep(model, settings, filler))
    done = newest(out)
    if done:
        restore(folder_of(out, done), prepared, optimizer)
    for step in range(done, settings.steps):
        line = _one_step(accelerator, prepared, optimizer, windows, settings, step)
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            save(out, step + 1, model, tokenizer, prepared, optimizer)
        after_step(line)
    return folder_of(out, settings.steps)


def _one_step(
    accelerator: Any, prepared: nn.Module, optimizer: Any, windows: Windows, settings: Training, step: int
) -> dict[str, Any]:
    """One update; what is logged of it, a mean over its batches."""
    began, lines, tokens, seeded = time.perf_counter(), [], 0, settings.seeded(step)
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * rate_share(step, settings)
    for part in range(settings.accumulate):
        micro = step * settings.accumulate + part
        batch = windows.batch(micro, settings.batch)
        # accelerate's own mixed precision is one setting for a whole process, a notebook's second run included
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            losses, _ = prepared(batch, micro, seeded)
        accelerator.backward(losses.total / settings.accumulate)
        lines.append(_figures(losses))
        tokens += int(batch.real_BS.sum())
    norms = {f"gradient_norm_{group['name']}": _norm(group["params"]) for group in optimizer.param_groups}
    accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    means = {name: sum(line[name] for line in lines) / len(lines) for name in lines[0]}
    rate = tokens / (time.perf_counter() - began)
    return {"step": step + 1, "seeded": seeded, **means, **norms, "tokens_per_second": rate}


def _figures(losses: Losses) -> dict[str, float]:
    return {
        "loss": losses.total.item(),
        "nats_without": losses.base.item(),
        "nats_with": losses.talk_K[0].item(),
        "reward": losses.reward_mean.item(),
        "thought_nats": losses.thought_nats.item(),
        "weight": losses.weight_BKPA[:, 0].mean().item(),
    }


def _accelerator() -> Any:
    try:
        from accelerate import Accelerator
    except ImportError:
        raise MissingExtraError("training needs the package `accelerate`: pip install 'isoflop[train]'") from None
    found = Accelerator()
    if found.num_processes > 1:
        raise SpecError(f"training runs in one process, not in {found.num_processes}; start it without a launcher")
    return found


def _thinking_model(settings: Training, tokenizer: Any) -> ThoughtModel:
    """A checkpoint with thoughts as it is, vectors and head kept; new thoughts on a plain model."""
    # weights that are trained need float32; those that are not stay as they are where products are in bfloat16 anyway
    dtype = "auto" if settings.precision == "bf16" and not settings.base_rate else "float32"
    if has_thoughts(settings.model):
        model = ThoughtModel.load(settings.model, settings.n_ahead, dtype=dtype)
        model.thought_parameters.float()
        return model
    base = load_model(settings.model, dtype=dtype)
    # a small vocabulary may have no dashes: then the vectors begin as the mean embedding
    start = next(iter(tokenizer.encode(DASH, add_special_tokens=False)), None)
    n_ahead = 8 if settings.n_ahead is None else settings.n_ahead
    model = ThoughtModel.put_on(base, n_ahead=n_ahead, start_token_id=start, seed=settings.seed)
    model.thought_parameters.float()
    return model


def _seed_filler(settings: Training, model: ThoughtModel, documents: list[Document], tokenizer: Any) -> int:
    """What fills up short thoughts, 0 where none is seeded. Refuses seeding without thoughts, or tokens, to learn."""
    if not (settings.seeded_steps or settings.seeded_share):
        return 0
    if not any(document.traces for document in documents):
        raise ProblemError(
            f"{settings.data} has no column 'thoughts', which seeded steps learn; see docs/quiet-star.md"
        )
    if not model.config.sampled_tokens:
        raise SpecError(f"n_ahead={model.config.n_ahead} leaves a thought no token to seed; give at least 4")
    return filler_token(tokenizer, settings.filler)


def _norm(parameters: list[torch.Tensor]) -> float:
    found = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
    return float(torch.stack(found).norm()) if found else 0.0
