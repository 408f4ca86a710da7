"""Training a small language model from nothing: an ordinary Llama of transformers, on rows in the order of the file.

    train(LanguageTraining(data="runs/text.jsonl", out="runs/base", steps=5000))
    AutoModelForCausalLM.from_pretrained("runs/base")

Matrices are stepped by Muon, the rest by AdamW; one thread is enough at this size. What a step sees follows from the
seed and the step's number: a run that was killed ends where it would have. Muon: Jordan et al. 2024. Legend as in
`rows.py`, and H hidden size.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from isoflop.errors import SpecError, StoreError
from isoflop.laboratory.rows import IGNORED, Batch, batch_of, read_rows
from isoflop.laboratory.tokenizer import word_tokenizer
from isoflop.runtime.optimizers import MuonAdamW, muon_groups

STATE, SETTINGS, LOG = "state.pt", "training.json", "log.jsonl"
LEAST_RATE = 0.05  # of the full learning rate, at the end of the cosine


@dataclass(frozen=True)
class LanguageTraining:
    """One run. `start` is a folder whose weights it begins with (else they are drawn, by `seed`, in the shape that
    `hidden`, `layers`, `heads` and `feed_forward` say)."""

    data: str
    out: str
    start: str | None = None
    steps: int = 3000
    batch: int = 16
    hidden: int = 96
    layers: int = 4
    heads: int = 4
    feed_forward: int = 256
    rate: float = 3e-3
    warmup_steps: int = 100
    save_every: int = 500
    log_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "hidden", "layers", "heads", "feed_forward", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name}={getattr(self, name)} must be at least 1")
        if self.hidden % self.heads:
            raise SpecError(f"hidden={self.hidden} is no multiple of heads={self.heads}; choose one that is")

    def rate_share(self, step: int) -> float:
        """Linear warm-up, then a cosine."""
        cosine = (1 + math.cos(math.pi * step / self.steps)) / 2
        return min(1.0, (step + 1) / max(1, self.warmup_steps)) * (LEAST_RATE + (1 - LEAST_RATE) * cosine)


class Learner:
    """The model and its optimiser."""

    def __init__(self, settings: LanguageTraining, tokenizer: Any) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.model = _model(settings, tokenizer)
        self.optimizer = MuonAdamW(muon_groups(self.model.named_parameters(), settings.rate))

    def step(self, batch: Batch, rate: float) -> float:
        """One update; the mean nats a token."""
        hidden_BSH = self.model.model(input_ids=batch.ids_BS, use_cache=False).last_hidden_state
        counts_BS = batch.labels_BS != IGNORED
        loss = cross_entropy(self.model.lm_head(hidden_BSH[counts_BS]), batch.labels_BS[counts_BS])
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def train(settings: LanguageTraining, tell: Callable[[dict[str, Any]], None] = lambda line: None) -> Path:
    """Run to the last step, from where `out` stopped; its folder is returned."""
    logging.disable_progress_bar()  # of saving: a bar for every checkpoint hides the log
    out, tokenizer = Path(settings.out), word_tokenizer()
    _same_settings(out, settings)
    rows = read_rows(settings.data, tokenizer)
    learner = Learner(settings, tokenizer)
    done, spent, tokens = _resumed(out, learner)
    clock = time.perf_counter() - spent
    losses: list[float] = []
    for step in range(done, settings.steps):
        batch = batch_of(rows, step, size=settings.batch, seed=settings.seed, pad=tokenizer.pad_token_id)
        losses.append(learner.step(batch, settings.rate * settings.rate_share(step)))
        tokens += batch.ids_BS.numel()
        last = step + 1 == settings.steps
        if (step + 1) % settings.log_every == 0 or last:
            tell(_logged(out, step + 1, losses, tokens, time.perf_counter() - clock))
            losses = []
        if (step + 1) % settings.save_every == 0 or last:
            progress = {"step": step + 1, "seconds": time.perf_counter() - clock, "tokens": tokens}
            _save(out, learner, tokenizer, progress)
    return out


def _model(settings: LanguageTraining, tokenizer: Any) -> Any:
    if settings.start is not None:
        return AutoModelForCausalLM.from_pretrained(settings.start, dtype=torch.float32).train()
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden,
            intermediate_size=settings.feed_forward,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _logged(out: Path, step: int, losses: Sequence[float], tokens: int, seconds: float) -> dict[str, Any]:
    line = {"step": step, "nats": sum(losses) / len(losses), "tokens": tokens, "seconds": seconds}
    with (out / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    return line


def _same_settings(out: Path, settings: LanguageTraining) -> None:
    """A folder holds one run: with other settings its weights would not be of this run."""
    out.mkdir(parents=True, exist_ok=True)
    path, wanted = out / SETTINGS, json.dumps(asdict(settings), indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != wanted:
        raise StoreError(f"{out} holds a run with other settings, in {path.name}; give another folder, or remove it")
    path.write_text(wanted, encoding="utf-8")


def _resumed(out: Path, learner: Learner) -> tuple[int, float, int]:
    if not (out / STATE).is_file():
        return 0, 0.0, 0
    state = torch.load(out / STATE, weights_only=True)
    learner.restore(state)
    return state["step"], state["seconds"], state["tokens"]


def _save(out: Path, learner: Learner, tokenizer: Any, progress: dict[str, Any]) -> None:
    learner.model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    torch.save({**progress, **learner.state()}, out / "unfinished.pt")
    os.replace(out / "unfinished.pt", out / STATE)
