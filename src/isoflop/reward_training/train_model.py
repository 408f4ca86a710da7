"""`isoflop reward train --method lora|full`: a reward model of its own, fitted to labelled steps.

    summary = train_model("labels.jsonl", "path/to/model", "rewards/first", ModelTraining(method="lora"))
    summary["use"]                                       # token_prm('rewards/first')

It runs in one process or, under torchrun or accelerate launch, in several, with the same losses. A killed training goes
on from its last checkpoint, with any number of workers. Every seed holds out problems of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from isoflop.errors import SpecError
from isoflop.reward_training.examples import Example, text_examples
from isoflop.reward_training.fit_summary import fit_summary, labels_summary, told, write_summary
from isoflop.reward_training.folder import SUMMARY, claim, labels_print, write_json
from isoflop.reward_training.sources import read_solutions
from isoflop.reward_training.split import held_out_problems
from isoflop.reward_training.train_classifier import open_classifier, save_classifier
from isoflop.reward_training.train_loop import RESUME, Loop
from isoflop.reward_training.train_options import ModelTraining
from isoflop.rewards.encode import Encoder
from isoflop.rewards.format import TRL
from isoflop.rewards.models import check_tokenizer, local_folder, read_config
from isoflop.runtime.loading import load_tokenizer
from isoflop.runtime.workers import open_workers

Told = Callable[[str], None]


def train_model(
    source: str | Path,
    model: str,
    out: str | Path,
    training: ModelTraining,
    *,
    dtype: str = "auto",
    device: str = "auto",
    tell: Told = lambda text: None,
) -> dict[str, Any]:
    """Train, save, and return the summary, which also stands in `summary.json`. Weights are float32; `dtype` is that of
    the products, float32 (auto) or bfloat16."""
    if dtype not in ("auto", "float32", "bfloat16"):
        raise SpecError(f"dtype={dtype!r}: a model is trained in float32, with products in float32 or bfloat16")
    workers, folder = open_workers(device), Path(out)
    solutions = read_solutions(source, training.kind)
    tokenizer = load_tokenizer(model)
    encoder = Encoder(replace(TRL, opening=training.opening, mark=training.separator), tokenizer)
    config = read_config(local_folder(model))
    check_tokenizer(model, tokenizer, config)
    context_tokens = int(config.get_text_config().max_position_embeddings)
    examples, too_long = text_examples(solutions, encoder, context_tokens)
    held_out = {
        seed: held_out_problems([example.problem for example in examples], training.held_out, seed)
        for seed in training.seeds
    }
    if workers.is_main_process:
        claim(folder, {"model": model, "labels": labels_print(solutions), "dtype": dtype, **asdict(training)})
    workers.wait_for_everyone()
    run = _Run(workers, model, tokenizer, examples, training, dtype, tell if workers.is_main_process else _silent)
    places = {seed: folder if len(training.seeds) == 1 else folder / f"seed-{seed}" for seed in training.seeds}
    fits = [run.one(place, held_out[seed], seed) for seed, place in places.items()]
    summary = {
        "method": training.method,
        "model": model,
        "use": f"token_prm({str(places[training.seeds[0]])!r})",
        **labels_summary(examples, solutions[0].kind),
        "too_long": too_long,
        "fits": fits,
    }
    if workers.is_main_process:
        write_summary(folder, summary)
    return summary


class _Run:
    """What all seeds share."""

    def __init__(
        self,
        workers: Any,
        model: str,
        tokenizer: Any,
        examples: Sequence[Example],
        training: ModelTraining,
        dtype: str,
        tell: Told,
    ) -> None:
        self.workers, self.model, self.tokenizer = workers, model, tokenizer
        self.examples, self.training, self.dtype, self.tell = examples, training, dtype, tell

    def one(self, place: Path, held_out: frozenset[str], seed: int) -> dict[str, Any]:
        """Train one seed and save it, unless that has been done."""
        done = _finished(place)
        if done is not None:
            return done
        if self.workers.is_main_process:
            place.mkdir(exist_ok=True)
        classifier = open_classifier(self.model, self.training, seed)
        bfloat16 = self.dtype == "bfloat16"
        loop = Loop(self.workers, classifier, self.examples, held_out, seed, self.training, place, bfloat16=bfloat16)
        loop.run(self.tell)
        logits = [logit for _, own in sorted(loop.progress.best_logits.items()) for logit in own]
        summary = fit_summary(self.examples, logits, loop.progress.epochs, held_out, seed, place)
        if self.workers.is_main_process:
            save_classifier(place, self.model, self.training, seed, loop.best_weights(), self.tokenizer)
            write_json(place / SUMMARY, summary)
            shutil.rmtree(place / RESUME)
        self.workers.free_memory()
        self.workers.wait_for_everyone()
        self.tell(told(summary))
        return summary


def _finished(place: Path) -> dict[str, Any] | None:
    """The summary of a seed whose training has ended; a folder of one seed may hold that of the whole."""
    path = place / SUMMARY
    if not path.is_file() or (place / RESUME).is_dir():
        return None
    held: dict[str, Any] = json.loads(path.read_text())
    fit: dict[str, Any] = held["fits"][0] if "fits" in held else held
    return fit


def _silent(text: str) -> None:
    """Other workers than the first one say nothing."""
