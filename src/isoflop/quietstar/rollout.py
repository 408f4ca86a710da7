"""One forward for a training step: visible tokens, and at every anchor its thoughts and the true tokens after them.

With the thoughts given, all that a step needs is a row of one forward: S visible tokens, and for each thought a branch
of n_ahead - 1 inputs followed by talk - 1 true tokens ahead. No row sees another branch, so several thoughts of one
anchor share the visible rows, and no mask is wider than the visible tokens. It scores nothing: that is `loss.py`.

    rollout = roll_out(model, ids_BS, real_BS, thoughts_BPAN, talk=4)
    rollout = draw_and_roll_out(model, ids_BS, real_BS, draw, thoughts=2, talk=4)

Drawing goes token by token; the rows that were computed to draw from are kept and not computed again: n_ahead - 2
forwards in all (n_ahead = 8: 6 instead of the 11 passes of the sequential form), each row once.

`naive.py` runs the same rows as separate passes. Zelikman et al. 2024 (arXiv 2403.09629).

Legend: B sequences, S positions, A anchors of a sequence, P thoughts at each anchor, N sampled tokens of a thought,
G inputs of a thought, C branches of a sequence (P * A), K tokens predicted after a thought ("talk"), H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from isoflop.errors import ModelError
from isoflop.quietstar.branches import Branches
from isoflop.quietstar.counts import IGNORED, Counts, ahead, counts, labels_ahead

if TYPE_CHECKING:
    from isoflop.quietstar.model import ThoughtModel


@dataclass(frozen=True, slots=True)
class Rollout:
    """Final hidden states of the visible tokens, of the thoughts' inputs and of the talk inputs after them (the first
    of these is the thought's last input), the thoughts' tokens, and the labels of what each row predicts."""

    visible_BSH: torch.Tensor
    thought_BGPAH: torch.Tensor
    talk_BKPAH: torch.Tensor
    anchors_BA: torch.Tensor
    used_BA: torch.Tensor
    thoughts_BPAN: torch.Tensor
    labels_BS: torch.Tensor

    def ahead(self, values_BS: torch.Tensor) -> torch.Tensor:
        """[B, S, ...] values at the anchor and the K - 1 positions after it, [B, K, A, ...]; past the end they wrap."""
        return ahead(values_BS, self.anchors_BA, self.talk)

    @property
    def talk_labels_BKA(self) -> torch.Tensor:
        """What talk row s of an anchor predicts, the token s + 1 after it; IGNORED past the end and at padding."""
        return labels_ahead(self.labels_BS, self.anchors_BA, self.used_BA, self.talk)

    @property
    def talk(self) -> int:
        """Tokens predicted after a thought."""
        return self.talk_BKPAH.shape[1]

    @property
    def counts(self) -> Counts:
        """Of how many tokens and places the losses are."""
        return counts(self.labels_BS, self.anchors_BA, self.used_BA, self.talk)


# (number of the sampled token, logits [B, P * A, W]) -> ids [B, P * A]
Draw = Callable[[int, torch.Tensor], torch.Tensor]


def roll_out(
    model: ThoughtModel,
    ids_BS: torch.Tensor,
    real_BS: torch.Tensor,
    thoughts_BPAN: torch.Tensor,
    *,
    talk: int,
    anchors_BA: torch.Tensor | None = None,
    used_BA: torch.Tensor | None = None,
) -> Rollout:
    """One forward over visible tokens and all branches, thoughts given. Anchors are all positions where none are
    given; `used_BA` is False at those that only fill up a row: they predict nothing and earn nothing."""
    anchors_BA = all_anchors(ids_BS) if anchors_BA is None else anchors_BA
    check_rollout(model, ids_BS, thoughts_BPAN, anchors_BA, talk)
    branches, columns_BC = _branches(real_BS, anchors_BA, thoughts_BPAN.shape[1])
    before, after = _given_inputs(model, ids_BS, columns_BC, talk)
    tokens = list(model.embed(thoughts_BPAN.flatten(1, 2)).unbind(2))
    visible_BSH, rows_BGCH = model.run(branches, model.embed(ids_BS), torch.stack([*before, *tokens, *after], 1))
    return _rollout(model, ids_BS, real_BS, visible_BSH, rows_BGCH, thoughts_BPAN, anchors_BA, used_BA)


def draw_and_roll_out(
    model: ThoughtModel,
    ids_BS: torch.Tensor,
    real_BS: torch.Tensor,
    draw: Draw,
    *,
    thoughts: int,
    talk: int,
    anchors_BA: torch.Tensor | None = None,
    used_BA: torch.Tensor | None = None,
) -> Rollout:
    """The same, with `thoughts` at each anchor drawn on the way. No gradient flows through a draw."""
    anchors_BA = all_anchors(ids_BS) if anchors_BA is None else anchors_BA
    sampled = model.config.sampled_tokens
    branches, columns_BC = _branches(real_BS, anchors_BA, thoughts)
    before, after = _given_inputs(model, ids_BS, columns_BC, talk)
    first = [*before, *after] if not sampled else before
    visible_BSH, rows_BGCH = model.run(branches, model.embed(ids_BS), torch.stack(first, 1))
    rows, tokens = [rows_BGCH], []
    for step in range(sampled):
        tokens.append(draw(step, model.thought_logits(rows[-1][:, -1].detach())))
        following = [model.embed(tokens[-1])] + (after if step == sampled - 1 else [])
        rows.append(model.run(branches, visible_BSH[:, :0], torch.stack(following, 1))[1])
    tokens_BCN = torch.stack(tokens, -1) if tokens else columns_BC.new_zeros((*columns_BC.shape, 0))
    thoughts_BPAN = torch.unflatten(tokens_BCN, 1, (thoughts, -1))
    return _rollout(model, ids_BS, real_BS, visible_BSH, torch.cat(rows, 1), thoughts_BPAN, anchors_BA, used_BA)


def _branches(real_BS: torch.Tensor, anchors_BA: torch.Tensor, thoughts: int) -> tuple[Branches, torch.Tensor]:
    """A branch for every thought: those of one anchor stand A columns apart."""
    branches, columns_BC = Branches(real_BS.bool()), anchors_BA.repeat(1, thoughts)
    branches.open(columns_BC)
    return branches, columns_BC


def _given_inputs(
    model: ThoughtModel, ids_BS: torch.Tensor, columns_BC: torch.Tensor, talk: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What stands before the sampled tokens and after them: start; end and the true tokens ahead."""
    parameters = model.thought_parameters
    start, end = (vector.expand(*columns_BC.shape, -1) for vector in (parameters.start, parameters.end))
    ahead = [model.embed(ids_BS.gather(1, (columns_BC + step) % ids_BS.shape[1])) for step in range(1, talk)]
    return [start], [end] * (model.config.inputs > 1) + ahead


def _rollout(
    model: ThoughtModel,
    ids_BS: torch.Tensor,
    real_BS: torch.Tensor,
    visible_BSH: torch.Tensor,
    rows_BGCH: torch.Tensor,
    thoughts_BPAN: torch.Tensor,
    anchors_BA: torch.Tensor,
    used_BA: torch.Tensor | None,
) -> Rollout:
    rows_BGPAH, inputs = torch.unflatten(rows_BGCH, 2, (thoughts_BPAN.shape[1], -1)), model.config.inputs
    return Rollout(
        visible_BSH,
        rows_BGPAH[:, :inputs],
        rows_BGPAH[:, inputs - 1 :],
        anchors_BA,
        torch.ones_like(anchors_BA, dtype=torch.bool) if used_BA is None else used_BA,
        thoughts_BPAN,
        next_labels(ids_BS, real_BS),
    )


def all_anchors(ids_BS: torch.Tensor) -> torch.Tensor:
    """Every position of every sequence."""
    return torch.arange(ids_BS.shape[1], device=ids_BS.device).expand(ids_BS.shape)


def next_labels(ids_BS: torch.Tensor, real_BS: torch.Tensor) -> torch.Tensor:
    """What position i is to predict: the id at i + 1, IGNORED where that is padding or past the end."""
    shifted = ids_BS.masked_fill(~real_BS.bool(), IGNORED).roll(-1, 1)
    shifted[:, -1] = IGNORED
    return shifted


def check_rollout(
    model: ThoughtModel, ids_BS: torch.Tensor, thoughts_BPAN: torch.Tensor, anchors_BA: torch.Tensor, talk: int
) -> None:
    """Refuse shapes that do not belong together, and thought ids inside a thought."""
    wanted = [len(ids_BS), "any", anchors_BA.shape[1], model.config.sampled_tokens]
    found = list(thoughts_BPAN.shape)
    if len(found) != 4 or found[:1] + found[2:] != wanted[:1] + wanted[2:]:
        raise ModelError(
            f"thoughts are of shape {found}, must be {wanted}: sequences, thoughts of an anchor, anchors, "
            "n_ahead - 3 tokens".replace("'", "")
        )
    if talk < 1:
        raise ModelError(f"talk={talk}: at least one token must be predicted after a thought")
    for thought_id in model.config.thought_ids:
        if bool((thoughts_BPAN == thought_id).any()):
            raise ModelError(f"thoughts hold the id {thought_id}, which starts or ends a thought and is never sampled")
