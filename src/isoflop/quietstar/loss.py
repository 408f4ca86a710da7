"""What a training step minimises: the reference's objective to the letter, and one with its accidents mended.

    losses = faithful_losses(model, rollout)
    losses = corrected_losses(model, rollout)
    losses = seeded_losses(model, rollout)              # the rollout's thoughts are to be learnt as they are
    losses.total.backward()

`faithful` keeps what the reference does by accident: the policy term is a million times its mean; thoughts drawn at
temperature 1 are scored at 3; each thought is part of its own baseline; a mean over losses leaves out exact zeros (that
is how padding drops out); the last usable position earns no reward.

Every mean is over the counts of this forward, or over `whole`, those of an update that is cut into several forwards:
then what is given is this forward's part, and the parts add up to the losses of one large forward. (Exact zeros are
left out forward by forward: nobody knows of them before.)

`corrected` follows one number: half the plain loss, half the expected loss after a thought. Its policy term is the
score-function half of that expectation's gradient, so both halves are on one scale; thoughts are scored at the
temperature they were drawn at, against the mean of the *other* thoughts of their anchor.

Zelikman et al. 2024 (arXiv 2403.09629), section 4.4; leave-one-out: Kool et al. 2019 (Buy 4 REINFORCE samples).
Legend as in `rollout.py`, and W vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from isoflop.quietstar.counts import IGNORED, Counts, earning

if TYPE_CHECKING:
    from isoflop.quietstar.model import ThoughtModel
    from isoflop.quietstar.rollout import Rollout

POLICY_SCALE = 1e6
REINFORCE_TEMPERATURE = 3.0


@dataclass(frozen=True, slots=True)
class Losses:
    """`total` is what is minimised; `base` and `talk_K` are mean nats a token without and after a thought, `nll` their
    mean, `base_there` nats without a thought of the tokens that the first of `talk_K` counts, `policy` the policy term
    before scaling, `reward_BPA` what each thought saved (NaN where it earns nothing; so many places are `rewarded`),
    `thought_nats` the mean -log p of a thought's token: over drawn thoughts an estimate of their entropy."""

    total: torch.Tensor
    nll: torch.Tensor
    policy: torch.Tensor
    base: torch.Tensor
    talk_K: torch.Tensor
    reward_BPA: torch.Tensor
    weight_BKPA: torch.Tensor
    thought_nats: torch.Tensor
    base_there: torch.Tensor
    rewarded: int

    @property
    def reward_mean(self) -> torch.Tensor:
        """Mean nats saved by a thought over the tokens after it; NaN where no place earns anything."""
        return self.reward_BPA.nansum() / (self.rewarded * self.reward_BPA.shape[1] or float("nan"))


def faithful_losses(model: ThoughtModel, rollout: Rollout, whole: Counts | None = None) -> Losses:
    """The reference's losses. The anchors' rewards need all K tokens after them and one more (the accident above)."""
    own, whole = rollout.counts, whole or rollout.counts
    base_BS = token_losses(model, rollout.visible_BSH, rollout.labels_BS)
    talk_BKPA, weight_BKPA = talk_losses(model, rollout)
    base = mean_of_nonzero(base_BS) * (own.text / max(1, whole.text))
    talk_K = torch.stack(
        [
            mean_of_nonzero(losses) * (part / max(1, tokens))
            for losses, part, tokens in zip(talk_BKPA.unbind(1), own.ahead_K, whole.ahead_K, strict=True)
        ]
    )
    reward_BPA = (rollout.ahead(base_BS.detach())[:, :, None] - talk_BKPA.detach()).sum(1)
    earns_BA = earning(rollout.labels_BS, rollout.anchors_BA, rollout.used_BA, rollout.talk)
    baseline = reward_BPA.mean(1, keepdim=True) if reward_BPA.shape[1] > 1 else 0
    advantage_BPA = (reward_BPA - baseline).clamp(min=0)
    earns_BPA = earns_BA[:, None].expand_as(reward_BPA)
    policy, thought_nats = base.new_zeros(()), base.new_full((), float("nan"))
    if rollout.thoughts_BPAN.shape[-1]:
        with torch.no_grad():
            thought_nats = mean_nats(rollout, thought_log_shares(model, rollout, 1.0), whole)
        log_share_BPAN = thought_log_shares(model, rollout, REINFORCE_TEMPERATURE)
        earned = (advantage_BPA * log_share_BPAN.mean(-1))[earns_BPA].sum()
        policy = -earned / max(1, whole.earning * reward_BPA.shape[1])
    nll = 0.5 * base + 0.5 * talk_K.mean()
    reward_BPA = reward_BPA.masked_fill(~earns_BPA, float("nan"))
    figures = (reward_BPA, weight_BKPA, thought_nats, _there(rollout, base_BS, whole), whole.earning)
    return Losses(nll + POLICY_SCALE * policy, nll, policy, base, talk_K, *figures)


def corrected_losses(
    model: ThoughtModel,
    rollout: Rollout,
    *,
    temperature: float = 1.0,
    alone_BS: torch.Tensor | None = None,
    mixing: float | None = None,
    whole: Counts | None = None,
) -> Losses:
    """`alone_BS` are the losses that a thought has to beat, the model's own without a thought if not given; `mixing`
    forces the mixing weight."""
    whole = whole or rollout.counts
    losses = likelihood_losses(model, rollout, alone_BS, mixing, whole)
    if not rollout.thoughts_BPAN.shape[-1]:
        return losses
    log_share_BPAN = thought_log_shares(model, rollout, temperature)
    advantage_BPA = leave_one_out(losses.reward_BPA.nan_to_num(0))
    tokens = sum(whole.ahead_K) * advantage_BPA.shape[1]
    policy = -(advantage_BPA * log_share_BPAN.sum(-1)).sum() / max(1, tokens)
    nats = mean_nats(rollout, log_share_BPAN.detach(), whole)
    return replace(losses, total=losses.nll + 0.5 * policy, policy=policy, thought_nats=nats)


def seeded_losses(model: ThoughtModel, rollout: Rollout, whole: Counts | None = None) -> Losses:
    """Thoughts that were given are learnt like text: their mean nats a token, and the loss after them, mixed and from
    the thought alone. Without the latter the mixing weight, which begins at 0, turns against a thought that cannot
    help yet."""
    whole = whole or rollout.counts
    losses = likelihood_losses(model, rollout, whole=whole)
    nats = mean_nats(rollout, thought_log_shares(model, rollout, 1.0), whole)
    alone = likelihood_losses(model, rollout, mixing=1.0, whole=whole)
    return replace(losses, total=losses.nll + 0.5 * alone.talk_K.mean() + nats, thought_nats=nats.detach())


def likelihood_losses(
    model: ThoughtModel,
    rollout: Rollout,
    alone_BS: torch.Tensor | None = None,
    mixing: float | None = None,
    whole: Counts | None = None,
) -> Losses:
    """Everything but what the thoughts' own tokens are trained by: for thoughts that nobody is to learn."""
    whole, counts_BKA = whole or rollout.counts, rollout.talk_labels_BKA != IGNORED
    base_BS = token_losses(model, rollout.visible_BSH, rollout.labels_BS)
    talk_BKPA, weight_BKPA = talk_losses(model, rollout, mixing)
    alone_BS = base_BS.detach() if alone_BS is None else alone_BS
    saved_BKPA = (rollout.ahead(alone_BS)[:, :, None] - talk_BKPA.detach()) * counts_BKA[:, :, None]
    reward_BPA = saved_BKPA.sum(1).masked_fill(~counts_BKA.any(1)[:, None], float("nan"))
    tokens_K = torch.tensor(whole.ahead_K, device=talk_BKPA.device) * talk_BKPA.shape[2]
    base = base_BS.sum() / max(1, whole.text)
    nll = 0.5 * base + 0.5 * talk_BKPA.sum() / tokens_K.sum().clamp(min=1)
    talk_K = talk_BKPA.sum((0, 2, 3)) / tokens_K.clamp(min=1)
    figures = (reward_BPA, weight_BKPA, base.new_full((), float("nan")), _there(rollout, base_BS, whole))
    return Losses(nll, nll, base.new_zeros(()), base, talk_K, *figures, whole.measured)


def _there(rollout: Rollout, base_BS: torch.Tensor, whole: Counts) -> torch.Tensor:
    """Mean plain loss of the tokens right after the anchors."""
    counts_BA = rollout.talk_labels_BKA[:, 0] != IGNORED
    return (rollout.ahead(base_BS.detach())[:, 0] * counts_BA).sum() / max(1, whole.ahead_K[0])


def leave_one_out(reward_BPA: torch.Tensor) -> torch.Tensor:
    """Each reward less the mean of the anchor's other thoughts; a single thought has none and keeps its reward."""
    thoughts = reward_BPA.shape[1]
    if thoughts == 1:
        return reward_BPA
    return (reward_BPA - reward_BPA.mean(1, keepdim=True)) * (thoughts / (thoughts - 1))


def token_losses(model: ThoughtModel, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each label [...] in nats from its hidden state [..., H], 0 where it is ignored."""
    logits_MW = model.logits(hidden.flatten(0, -2))
    return cross_entropy(logits_MW, labels.flatten(), ignore_index=IGNORED, reduction="none").view(labels.shape)


def talk_losses(
    model: ThoughtModel, rollout: Rollout, mixing: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses [B, K, P, A] of the tokens after the anchors, from base and thought mixed; and the mixing weights."""
    base_BKPAH = rollout.ahead(rollout.visible_BSH)[:, :, None].expand_as(rollout.talk_BKPAH)
    mixed_BKPAH, weight_BKPA = model.thought_parameters.mix(base_BKPAH, rollout.talk_BKPAH)
    if mixing is not None:
        mixed_BKPAH = (1 - mixing) * base_BKPAH + mixing * rollout.talk_BKPAH
        weight_BKPA = torch.full_like(weight_BKPA, mixing)
    labels_BKPA = rollout.talk_labels_BKA[:, :, None].expand_as(weight_BKPA)
    return token_losses(model, mixed_BKPAH, labels_BKPA), weight_BKPA.detach()


def thought_log_shares(model: ThoughtModel, rollout: Rollout, temperature: float) -> torch.Tensor:
    """Log-probabilities [B, P, A, N] of the thoughts' tokens, softmax at `temperature`."""
    sampled = rollout.thoughts_BPAN.shape[-1]
    scores_BPANW = model.thought_logits(rollout.thought_BGPAH[:, :sampled]).permute(0, 2, 3, 1, 4) / temperature
    return scores_BPANW.log_softmax(-1).gather(-1, rollout.thoughts_BPAN[..., None])[..., 0]


def mean_nats(rollout: Rollout, log_share_BPAN: torch.Tensor, whole: Counts) -> torch.Tensor:
    """The mean of -log p over the tokens of the thoughts that count; 0 where none does."""
    used_BPAN = rollout.used_BA[:, None, :, None].expand_as(log_share_BPAN)
    _, thoughts, _, tokens = log_share_BPAN.shape
    return -(log_share_BPAN * used_BPAN).sum() / max(1, whole.places * thoughts * tokens)


def mean_of_nonzero(losses: torch.Tensor) -> torch.Tensor:
    """The mean over what is not exactly 0; 0 where all is."""
    return losses.sum() / (losses != 0).sum().clamp(min=1)
