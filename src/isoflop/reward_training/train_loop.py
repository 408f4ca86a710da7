"""The training of one seed: updates over batches of whole solutions, a held-out loss each epoch, the best epoch kept.

The loss of an update is the cross-entropy of the soft labels, summed over all labelled steps of its batch and divided
by their number, however the batch is cut into forwards and spread over workers. So is what is logged.

    loop = Loop(workers, model, examples, held_out, seed=0, training=training, folder=folder)
    loop.run(tell)
    loop.progress.epochs, loop.best_weights()

Legend: B solutions of a forward, N tokens, R steps read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from isoflop.errors import StudyError
from isoflop.reward_training.epochs import best_of, is_over, measure, write_epochs
from isoflop.reward_training.examples import Example
from isoflop.reward_training.folder import write_text
from isoflop.reward_training.train_classifier import RIGHT
from isoflop.reward_training.train_options import ModelTraining
from isoflop.reward_training.train_state import Progress, load_state, save_state, save_weights, trained_weights
from isoflop.runtime.workers import exchange, gathered, shares, spread, whole

RESUME, BEST, UPDATES = "resume", "best.safetensors", "updates.jsonl"


class Loop:
    """Goes on from the newest checkpoint in the folder. `bfloat16`: products are in it; weights are always float32."""

    def __init__(
        self,
        workers: Any,
        model: Any,
        examples: Sequence[Example],
        held_out: Set[str],
        seed: int,
        training: ModelTraining,
        folder: Path,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.workers, self.examples, self.seed, self.folder = workers, examples, seed, folder
        self.training, self.options, self._bfloat16 = training, training.options, bfloat16
        self.held = [place for place, example in enumerate(examples) if example.problem in held_out]
        self.train = [place for place, example in enumerate(examples) if example.problem not in held_out]
        model.config.use_cache = False
        self.model = spread(model, workers, self.options.shard)
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self._parameters, lr=0.0, weight_decay=self.options.weight_decay)
        found = load_state(folder / RESUME, workers, self.model, self.optimizer)
        self.progress = Progress() if found is None else found

    def run(self, tell: Callable[[str], None]) -> None:
        """To the end. What the logs hold beyond the checkpoint is from before a kill, and written anew."""
        self._write_logs()
        while not is_over(self.progress.epochs, self.options.epochs, self.options.patience):
            batches = self._batches(len(self.progress.epochs))
            for batch in batches[self.progress.done :]:
                self._update(batch, self.options.epochs * len(batches))
                if self.progress.done % self.options.save_every == 0 and self.progress.done < len(batches):
                    self._save()
            self._end_epoch()
            last = self.progress.epochs[-1]
            tell(
                f"seed {self.seed}, epoch {last.epoch} ({self.progress.updates} updates): "
                f"loss {last.train_loss:.4f}, held out {last.held_out_loss:.4f}"
            )

    def best_weights(self) -> dict[str, torch.Tensor]:
        """Those of the best epoch."""
        return load_file(self.folder / RESUME / BEST)

    def _batches(self, epoch: int) -> list[list[int]]:
        """An epoch's updates, in an order that follows from seed and epoch alone."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.train).tolist()
        size = self.options.batch_solutions
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _update(self, batch: Sequence[int], updates: int) -> None:
        steps = sum(len(self.examples[place].targets) for place in batch)
        own, found = self._shares(batch), []
        for number, places in enumerate(own, 1):
            with exchange(self.model, self.workers, last=number == len(own)):
                logits, target_R = self._forward(places or batch[:1])
                # The gradients of all workers are averaged, and this is one worker's part of a sum.
                part = cross_entropy(torch.cat(logits), target_R, reduction="sum") * self.workers.num_processes / steps
                self.workers.backward(part if places else part * 0)
            found += list(zip(places, (each.tolist() for each in logits), strict=False))
        told = dict(gathered(self.workers, found))
        loss, rate = self._loss(told), self._rate(updates)
        norm = float(whole(torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)))
        self.progress.updates += 1
        self.progress.done += 1
        if not np.isfinite(loss) or not np.isfinite(norm):
            raise StudyError(
                f"update {self.progress.updates}: the loss is {loss} and its gradient's norm {norm}; lower the "
                f"learning rate (now {self.training.learning_rate:g}), or train with dtype='float32'"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.logits |= told
        line = {"update": self.progress.updates, "loss": loss, "steps": steps, "learning_rate": rate}
        self.progress.log.append(line)
        if self.workers.is_main_process:
            with (self.folder / UPDATES).open("a") as log:
                log.write(json.dumps({"seed": self.seed, **line}) + "\n")

    def _end_epoch(self) -> None:
        """Measure, keep the weights if they are the best so far, and save."""
        progress = self.progress
        logits = progress.logits | self._logits(self.held)
        places = sorted(logits)
        logit_S = torch.tensor([logit for place in places for logit in logits[place]])
        target_S = torch.tensor([target for place in places for target in self.examples[place].targets])
        held = set(self.held)
        is_held_S = torch.tensor([place in held for place in places for _ in self.examples[place].targets])
        progress.epochs.append(measure(self.seed, len(progress.epochs) + 1, logit_S, target_S, is_held_S))
        progress.logits, progress.done = {}, 0
        if best_of(progress.epochs) is progress.epochs[-1]:
            progress.best_logits = logits
            weights = trained_weights(self.model)
            if self.workers.is_main_process:
                (self.folder / RESUME).mkdir(exist_ok=True)
                save_weights(self.folder / RESUME / BEST, weights)
        self._save()
        self._write_logs()

    def _save(self) -> None:
        save_state(self.folder / RESUME, self.workers, self.model, self.optimizer, self.progress)

    def _write_logs(self) -> None:
        if self.workers.is_main_process:
            write_epochs(self.folder, self.progress.epochs)
            lines = (json.dumps({"seed": self.seed, **line}) + "\n" for line in self.progress.log)
            write_text(self.folder / UPDATES, "".join(lines))

    @torch.no_grad()
    def _logits(self, places: Sequence[int]) -> dict[int, list[float]]:
        """Of each example, by all workers together."""
        found = []
        for own in self._shares(places):
            logits, _ = self._forward(own or places[:1])
            found += list(zip(own, (each.tolist() for each in logits), strict=False))
        return dict(gathered(self.workers, found))

    def _forward(self, places: Sequence[int]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """For each example the logits of its steps [R], right against wrong; and all their targets."""
        examples = [self.examples[place] for place in places]
        device = self.workers.device
        ids_BN, mask_BN = _padded([example.passage.tokens for example in examples], device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bfloat16):
            logit_BNC = self.model(input_ids=ids_BN, attention_mask=mask_BN).logits.float()
        reads = [logit_BNC[row, list(example.passage.reads)] for row, example in enumerate(examples)]
        targets = [target for example in examples for target in example.targets]
        return [read[:, RIGHT] - read[:, 1 - RIGHT] for read in reads], torch.tensor(targets, device=device)

    def _shares(self, places: Sequence[int]) -> list[list[int]]:
        return shares(places, self.options.at_once, self.workers.process_index, self.workers.num_processes)

    def _loss(self, logits: dict[int, list[float]]) -> float:
        places = sorted(logits)
        logit_S = torch.tensor([logit for place in places for logit in logits[place]])
        target_S = torch.tensor([target for place in places for target in self.examples[place].targets])
        return float(cross_entropy(logit_S, target_S))

    def _rate(self, updates: int) -> float:
        """Of the next update, of `updates` in all."""
        done, warmup = self.progress.updates, max(1, round(self.options.warmup_share * updates))
        return self.training.learning_rate * min((done + 1) / warmup, (updates - done) / max(1, updates - warmup), 1.0)


def _padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, N], padded on the right, and which of them are real."""
    longest = max(map(len, sequences))
    ids_BN = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask_BN = torch.zeros_like(ids_BN)
    for row, tokens in enumerate(sequences):
        ids_BN[row, : len(tokens)] = torch.tensor(tokens)
        mask_BN[row, : len(tokens)] = 1
    return ids_BN.to(device), mask_BN.to(device)
