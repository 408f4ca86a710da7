"""What thoughts are worth on held-out text: nats a token after a place to think, with controls on the same places.

    found = evaluate(ThoughtModel.load("runs/thoughts/checkpoint-000100"), windows, positions="all")
    found.arms["thoughts"].nats, found.arms["fillers"].minus_thoughts

Each document gives its first window. Arms differ in the thought alone, never in weights or text: `thoughts` drawn at
temperature 1; `without`, the same checkpoint thinking never; `mixing 0`, thoughts that count nothing (it must equal
`without`: a check of the pipeline); `fillers`, as many tokens that say nothing; `shuffled`, another document's
thoughts. Intervals draw whole documents. It is no accuracy on problems: that is a study with the engine `quietstar`.

Legend as in `rollout.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from isoflop.errors import ProblemError
from isoflop.quietstar.counts import IGNORED
from isoflop.quietstar.loss import talk_losses, token_losses
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.rollout import draw_and_roll_out, roll_out
from isoflop.quietstar.training.controls import of_the_next
from isoflop.quietstar.training.data import Windows
from isoflop.quietstar.training.step import anchors_of, drawn
from isoflop.stats.arms import Floats
from isoflop.stats.intervals import LEVEL, RESAMPLES, Interval, percentile_interval, resample_counts

ARMS = ("thoughts", "without", "mixing 0", "fillers", "shuffled")


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Mean nats a token, and what that is above the thinking model's, each with its interval over documents."""

    nats: float
    interval: Interval
    minus_thoughts: float
    minus_interval: Interval


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One `Likelihood` an arm, over this many documents and tokens that were predicted after a place to think."""

    arms: Mapping[str, Likelihood]
    documents: int
    tokens: int


@torch.no_grad()
def evaluate(
    model: ThoughtModel, windows: Windows, *, positions: str, filler: int, batch: int = 8, seed: int = 0
) -> Evaluation:
    """All arms on every document. At least 2 documents: one has no other to take thoughts from."""
    count = len(windows.documents)
    if count < 2:
        raise ProblemError(f"{count} document: thoughts are shuffled between documents; give at least 2")
    # equal parts of at least two, since thoughts are shuffled within a batch
    parts = np.array_split(np.arange(count), max(1, min(count // 2, -(-count // max(2, batch)))))
    rows = [
        _batch(model, windows, part.tolist(), positions, filler, seed + number) for number, part in enumerate(parts)
    ]
    nats_AD = np.concatenate([nats for nats, _ in rows], axis=1)
    tokens_D = np.concatenate([tokens for _, tokens in rows])
    if not tokens_D.sum():
        raise ProblemError(f"no document has a place to think at (positions={positions!r}); choose other positions")
    return Evaluation(_arms(nats_AD, tokens_D), count, int(tokens_D.sum()))


def _batch(
    model: ThoughtModel, windows: Windows, numbers: list[int], positions: str, filler: int, seed: int
) -> tuple[Floats, Floats]:
    """Nats [arms, documents] and tokens [documents]."""
    batch, device = windows.openings(numbers), model.device
    randoms = [np.random.default_rng((seed,))] * len(numbers)
    anchors_BA, used_BA = (part.to(device) for part in anchors_of(batch, positions, randoms))
    ids_BS, real_BS = batch.ids_BS.to(device), batch.real_BS.to(device)
    generator = torch.Generator(device).manual_seed(seed)
    own = draw_and_roll_out(
        model,
        ids_BS,
        real_BS,
        lambda _, logits_BCW: drawn(logits_BCW, [generator]),
        thoughts=1,
        talk=1,
        anchors_BA=anchors_BA,
        used_BA=used_BA,
    )
    others = [
        roll_out(model, ids_BS, real_BS, given, talk=1, anchors_BA=anchors_BA, used_BA=used_BA)
        for given in (torch.full_like(own.thoughts_BPAN, filler), of_the_next(own))
    ]
    counts_BA = own.talk_labels_BKA[:, 0] != IGNORED
    plain_BA = own.ahead(token_losses(model, own.visible_BSH, own.labels_BS))[:, 0] * counts_BA
    thinking = [talk_losses(model, rollout)[0][:, 0, 0] for rollout in (own, *others)]
    nothing_BA = talk_losses(model, own, mixing=0)[0][:, 0, 0]
    arms = (thinking[0], plain_BA, nothing_BA, *thinking[1:])
    return np.stack([nats.sum(1).double().cpu().numpy() for nats in arms]), counts_BA.sum(1).double().cpu().numpy()


def _arms(nats_AD: Floats, tokens_D: Floats) -> dict[str, Likelihood]:
    """Paired: every arm's interval comes from the same draws of documents."""
    draws = [
        (counts @ nats_AD.T) / np.maximum(counts @ tokens_D, 1)[:, None]
        for counts in resample_counts(len(tokens_D), RESAMPLES, 0)
    ]
    drawn_RA, means_A = np.concatenate(draws), nats_AD.sum(1) / tokens_D.sum()
    return {
        name: Likelihood(
            float(means_A[arm]),
            percentile_interval(drawn_RA[:, arm], LEVEL),
            float(means_A[arm] - means_A[0]),
            percentile_interval(drawn_RA[:, arm] - drawn_RA[:, 0], LEVEL),
        )
        for arm, name in enumerate(ARMS)
    }
