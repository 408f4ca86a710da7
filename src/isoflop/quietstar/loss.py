"""The training objective of the reference, to the letter, in one forward.

With the thoughts given, everything that one step needs is a row of one forward: S visible tokens, and at every anchor a
branch of n_ahead - 1 thought inputs followed by talk - 1 true tokens ahead. No row sees another anchor's branch.

    rollout = roll_out(model, ids_BS, real_BS, thoughts_BSN, talk=4)
    losses = faithful_losses(model, rollout, passes=2)
    losses.total.backward()

What the reference does by accident is kept: the policy term is a million times its mean; thoughts drawn at
temperature 1 are scored at 3; a mean over losses leaves out exact zeros (that is how padding drops out); the last
usable position earns no reward. `naive.py` runs the same rows as separate passes. Zelikman et al. 2024 (arXiv
2403.09629), section 4.4.

Legend: B rows (each sequence `passes` times in a row), S positions, A anchors, N sampled tokens of a thought, K tokens
predicted after it ("talk"), H hidden size, W vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from isoflop.errors import ModelError
from isoflop.quietstar.branches import Branches

if TYPE_CHECKING:
    from isoflop.quietstar.model import ThoughtModel

POLICY_SCALE = 1e6
REINFORCE_TEMPERATURE = 3.0
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Rollout:
    """Final hidden states of the visible tokens, of the thought inputs and of the talk inputs after them; labels of the
    next token (IGNORED at padding) and the thoughts' tokens."""

    visible_BSH: torch.Tensor
    thought_BGAH: torch.Tensor
    talk_BKAH: torch.Tensor
    anchors_A: torch.Tensor
    labels_BS: torch.Tensor
    thoughts_BAN: torch.Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """`total` = `nll` + 1e6 * `policy`; `nll` = the mean of `base` and of the mean `talk_K`, all in nats a token."""

    total: torch.Tensor
    nll: torch.Tensor
    policy: torch.Tensor
    base: torch.Tensor
    talk_K: torch.Tensor
    reward_mean: torch.Tensor


def roll_out(
    model: ThoughtModel,
    ids_BS: torch.Tensor,
    real_BS: torch.Tensor,
    thoughts_BAN: torch.Tensor,
    *,
    talk: int,
    anchors_A: torch.Tensor | None = None,
) -> Rollout:
    """One forward over visible tokens and all branches. Anchors are all positions where none are given."""
    anchors_A = torch.arange(ids_BS.shape[1], device=ids_BS.device) if anchors_A is None else anchors_A
    check_rollout(model, ids_BS, thoughts_BAN, anchors_A, talk)
    batch, inputs = len(ids_BS), model.config.inputs
    shape_BAH = (batch, len(anchors_A), model.thought_parameters.start.shape[0])
    groups = [model.thought_parameters.start.expand(shape_BAH)]
    groups += list(model.embed(thoughts_BAN).unbind(2))
    groups += [model.thought_parameters.end.expand(shape_BAH)] * (inputs > 1)
    groups += [model.embed(ids_BS[:, ahead(anchors_A, s, ids_BS)]) for s in range(1, talk)]
    branches = Branches(real_BS.bool())
    branches.open(anchors_A.expand(batch, -1))
    visible_BSH, rows_BGAH = model.run(branches, model.embed(ids_BS), torch.stack(groups, 1))
    return Rollout(
        visible_BSH,
        rows_BGAH[:, :inputs],
        rows_BGAH[:, inputs - 1 :],
        anchors_A,
        next_labels(ids_BS, real_BS),
        thoughts_BAN,
    )


def faithful_losses(model: ThoughtModel, rollout: Rollout, *, passes: int) -> Losses:
    """The reference's losses; `passes` rows in succession are thoughts of one sequence, and each other's baseline."""
    base_BS = token_losses(model, rollout.visible_BSH, rollout.labels_BS)
    talk_BKA = torch.stack([_talk_losses(model, rollout, s) for s in range(rollout.talk_BKAH.shape[1])], 1)
    reward_BA, earns_A = _rewards(rollout, base_BS.detach(), talk_BKA.detach())
    advantage_BA = _advantages(reward_BA, passes)
    policy = _policy_loss(model, rollout, advantage_BA, earns_A)
    base, talk_K = mean_of_nonzero(base_BS), torch.stack([mean_of_nonzero(loss) for loss in talk_BKA.unbind(1)])
    nll = 0.5 * base + 0.5 * talk_K.mean()
    return Losses(nll + POLICY_SCALE * policy, nll, policy, base, talk_K, reward_BA[:, earns_A].mean())


def next_labels(ids_BS: torch.Tensor, real_BS: torch.Tensor) -> torch.Tensor:
    """What position i is to predict: the id at i + 1, IGNORED where that is padding or past the end."""
    shifted = ids_BS.masked_fill(~real_BS.bool(), IGNORED).roll(-1, 1)
    shifted[:, -1] = IGNORED
    return shifted


def token_losses(model: ThoughtModel, hidden_BAH: torch.Tensor, labels_BA: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each label [B, A] in nats, 0 where it is ignored."""
    logits_BAW = model.logits(hidden_BAH)
    flat = cross_entropy(logits_BAW.flatten(0, 1), labels_BA.flatten(), ignore_index=IGNORED, reduction="none")
    return flat.view(labels_BA.shape)


def mean_of_nonzero(losses: torch.Tensor) -> torch.Tensor:
    """The mean over what is not exactly 0; 0 where all is."""
    return losses.sum() / (losses != 0).sum().clamp(min=1)


def ahead(anchors_A: torch.Tensor, steps: int, like_BS: torch.Tensor) -> torch.Tensor:
    """Positions `steps` after the anchors; past the end they wrap around, where nothing is predicted."""
    return (anchors_A + steps) % like_BS.shape[1]


def _talk_losses(model: ThoughtModel, rollout: Rollout, step: int) -> torch.Tensor:
    """Losses [B, A] of the tokens `step` + 1 after the anchors, from base and thought mixed."""
    at_A = ahead(rollout.anchors_A, step, rollout.labels_BS)
    mixed_BAH, _ = model.thought_parameters.mix(rollout.visible_BSH[:, at_A], rollout.talk_BKAH[:, step])
    past_the_end = rollout.anchors_A + step >= rollout.labels_BS.shape[1]
    return token_losses(model, mixed_BAH, rollout.labels_BS[:, at_A].masked_fill(past_the_end, IGNORED))


def _rewards(rollout: Rollout, base_BS: torch.Tensor, talk_BKA: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each thought saved, in nats over the K tokens after it [B, A]; and which anchors earn: i <= S - 2 - K."""
    talk, length = talk_BKA.shape[1], base_BS.shape[1]
    alone_BKA = torch.stack([base_BS[:, ahead(rollout.anchors_A, s, base_BS)] for s in range(talk)], 1)
    return (alone_BKA - talk_BKA).sum(1), rollout.anchors_A <= length - 2 - talk


def _advantages(reward_BA: torch.Tensor, passes: int) -> torch.Tensor:
    """Rewards above the mean of the same position's thoughts (itself included; one pass has none), at least 0."""
    if len(reward_BA) % passes:
        raise ModelError(f"{len(reward_BA)} rows are not {passes} thoughts of every sequence; repeat each as often")
    grouped = reward_BA.view(-1, passes, reward_BA.shape[1])
    baseline = grouped.mean(1, keepdim=True) if passes > 1 else torch.zeros_like(grouped)
    return (grouped - baseline).clamp(min=0).view_as(reward_BA)


def _policy_loss(
    model: ThoughtModel, rollout: Rollout, advantage_BA: torch.Tensor, earns_A: torch.Tensor
) -> torch.Tensor:
    """REINFORCE: the mean over sampled tokens, rows and earning anchors, padding and zeros included."""
    sampled = rollout.thoughts_BAN.shape[2]
    if not sampled or not bool(earns_A.any()):
        return rollout.visible_BSH.new_zeros(())
    per_token = []
    for step in range(sampled):
        scores_BAW = model.thought_logits(rollout.thought_BGAH[:, step]) / REINFORCE_TEMPERATURE
        chosen_BA1 = rollout.thoughts_BAN[..., step, None]
        log_share_BA = scores_BAW.log_softmax(-1).gather(-1, chosen_BA1)[..., 0]
        per_token.append(-(advantage_BA * log_share_BA)[:, earns_A].mean())
    return torch.stack(per_token).mean()


def check_rollout(
    model: ThoughtModel, ids_BS: torch.Tensor, thoughts_BAN: torch.Tensor, anchors_A: torch.Tensor, talk: int
) -> None:
    """Refuse shapes that do not belong together, and thought ids inside a thought."""
    wanted = [len(ids_BS), len(anchors_A), model.config.sampled_tokens]
    if list(thoughts_BAN.shape) != wanted:
        raise ModelError(
            f"thoughts are of shape {list(thoughts_BAN.shape)}, must be {wanted}: rows, anchors, n_ahead - 3 tokens"
        )
    if talk < 1:
        raise ModelError(f"talk={talk}: at least one token must be predicted after a thought")
    for thought_id in model.config.thought_ids:
        if bool((thoughts_BAN == thought_id).any()):
            raise ModelError(f"thoughts hold the id {thought_id}, which starts or ends a thought and is never sampled")
