"""What a run begins with: the model that thinks, in the dtype its weights need, and the token that fills up thoughts.

model = open_model(settings, tokenizer)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isoflop.errors import ProblemError, SpecError
from isoflop.quietstar.checkpoint import DASH, has_thoughts
from isoflop.quietstar.model import ThoughtModel
from isoflop.quietstar.training.data import Document
from isoflop.quietstar.training.settings import Training
from isoflop.quietstar.training.shorten import check_lengths, parse_lengths
from isoflop.quietstar.training.traces import filler_token
from isoflop.runtime.loading import load_model


def open_model(settings: Training, tokenizer: Any) -> ThoughtModel:
    """A checkpoint with thoughts as it is, vectors and head kept; new thoughts on a plain model. What is trained is in
    float32; a base model that is not stays as it is where products are in bfloat16 anyway."""
    whole = settings.rate_of_base and not settings.lora_rank
    dtype = "auto" if settings.precision == "bf16" and not whole else "float32"
    if has_thoughts(settings.model):
        model = ThoughtModel.load(settings.model, settings.n_ahead, dtype=dtype)
    elif settings.recipe == "distilled":
        raise SpecError(f"{settings.model} has no thoughts to distil; give a checkpoint that has")
    else:
        # a small vocabulary may have no dashes: then the vectors begin as the mean embedding
        start = next(iter(tokenizer.encode(DASH, add_special_tokens=False)), None)
        base, n_ahead = load_model(settings.model, dtype=dtype), settings.n_ahead or 8
        model = ThoughtModel.put_on(base, n_ahead=n_ahead, start_token_id=start, seed=settings.seed)
    model.thought_parameters.float()
    return model


def lengths_of(settings: Training, model: ThoughtModel) -> Sequence[int]:
    """n_ahead of each part of the run."""
    lengths = (model.config.n_ahead, *parse_lengths(settings.shorten))
    check_lengths(lengths, settings.steps)
    return lengths


def seed_filler(settings: Training, model: ThoughtModel, documents: Sequence[Document], tokenizer: Any) -> int:
    """What fills up short thoughts, 0 where none is. Refuses seeding without thoughts, or tokens, to learn."""
    seeds = settings.seeded_steps or settings.seeded_share
    if not seeds:
        return filler_token(tokenizer, settings.filler) if settings.control == "fillers" else 0
    if not any(document.traces for document in documents):
        raise ProblemError(
            f"{settings.data} has no column 'thoughts', which seeded steps learn; see docs/quiet-star.md"
        )
    if not model.config.sampled_tokens:
        raise SpecError(f"n_ahead={model.config.n_ahead} leaves a thought no token to seed; give at least 4")
    return filler_token(tokenizer, settings.filler)
