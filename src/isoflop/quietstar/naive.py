"""The twin that recomputes everything, as the reference does: each pass runs every position through the whole model.

It shares no code with the cached path: transformers' own `eager` attention, one cache that all passes grow, dense masks
with a diagonal per pass, the head applied twice a pass, sampled tokens multiplied as one-hot vectors with the embedding
table. It is the oracle of the fast path and of the training step, and what the benchmarks compare with.

    naive_next_token(model, ids, "greedy").logits
    naive_roll_out(model, ids_BS, real_BS, thoughts_BPSN, talk=4)

Legend: B sequences, S positions, P thoughts of a position, R rows (B * P), N sampled tokens, H hidden size,
W vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import one_hot
from transformers import DynamicCache

from isoflop.quietstar.branches import NAME
from isoflop.quietstar.checks import check_ids
from isoflop.quietstar.model import Ids, NextToken, ThoughtModel
from isoflop.quietstar.rollout import Draw, Rollout, all_anchors, next_labels
from isoflop.quietstar.thoughts import Choose, Thoughts

if TYPE_CHECKING:
    from typing import Any


@contextmanager
def _plain_attention(model: ThoughtModel) -> Iterator[None]:
    model.base.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.base.set_attn_implementation(NAME)


@dataclass
class Passes:
    """The passes made so far over one batch: what each gave, and the cache they share."""

    model: ThoughtModel
    real_BS: torch.Tensor
    cache: Any = field(default_factory=DynamicCache)
    hidden_BSH: list[torch.Tensor] = field(default_factory=list)

    def run(self, inputs_BSH: torch.Tensor) -> torch.Tensor:
        """One pass of every position; pass k stands k after its position and attends as the reference's masks say."""
        number, (batch, length) = len(self.hidden_BSH), self.real_BS.shape
        positions_S = torch.arange(length, device=inputs_BSH.device) + number
        output = self.model.base.get_decoder()(
            inputs_embeds=inputs_BSH,
            position_ids=positions_S.expand(batch, -1),
            attention_mask=self._masks(number, inputs_BSH),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.hidden_BSH.append(output.last_hidden_state)
        return self.hidden_BSH[-1]

    def _masks(self, number: int, like: torch.Tensor) -> Any:
        config = self.model.base.config.get_text_config()
        window, kinds = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or ())
        if len(kinds) > 1:
            return {
                "full_attention": self._mask(number, None, like),
                "sliding_attention": self._mask(number, window, like),
            }
        return self._mask(number, None if kinds == {"full_attention"} else window, like)

    def _mask(self, number: int, window: int | None, like: torch.Tensor) -> torch.Tensor:
        """[B, 1, S, (number + 1) * S]: the base columns as position i sees them, then one diagonal for each pass."""
        length = self.real_BS.shape[1]
        at = torch.arange(length, device=like.device)
        seen = at <= at[:, None]
        if window is not None:
            seen &= at > at[:, None] - window
        same = at == at[:, None]
        base_BSS = seen & (self.real_BS.bool()[:, None] | same)
        columns = [base_BSS] + [same.expand_as(base_BSS)] * number
        mask = torch.cat(columns, -1)[:, None]
        return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(
            ~mask, torch.finfo(like.dtype).min
        )


def naive_next_token(model: ThoughtModel, ids: Ids, thoughts: Thoughts = "greedy") -> NextToken:
    """What `model.next_token` gives, the reference's way."""
    ids_BS = check_ids(torch.as_tensor(ids)[None], model.vocab_size, model.config).to(model.device)
    with torch.no_grad(), _plain_attention(model):
        return _think_everywhere(model, ids_BS, model.choose(thoughts))


def _think_everywhere(model: ThoughtModel, ids_BS: torch.Tensor, choose: Choose) -> NextToken:
    passes, parameters = Passes(model, torch.ones_like(ids_BS)), model.thought_parameters
    positions = torch.arange(ids_BS.shape[1], device=ids_BS.device)[None]
    table = model.embed(torch.arange(model.vocab_size, device=ids_BS.device))
    base_BSH = hidden_BSH = passes.run(model.embed(ids_BS))
    base_logits = model.logits(base_BSH)
    logits, tokens = model.logits(base_BSH), []
    for number in range(1, model.config.n_ahead):
        if number == 1:
            inputs_BSH = parameters.start.expand_as(base_BSH)
        elif number == model.config.inputs:
            inputs_BSH = parameters.end.expand_as(base_BSH)
        else:
            token_BS = choose(number - 2, model.thought_logits(hidden_BSH), positions)
            tokens.append(int(token_BS[0, -1]))
            inputs_BSH = one_hot(token_BS, model.vocab_size).to(table.dtype) @ table
        hidden_BSH = passes.run(inputs_BSH)
        mixed_BSH, weight_BS = parameters.mix(base_BSH, hidden_BSH)
        logits = model.logits(mixed_BSH)
        if number > model.config.sampled_tokens:
            model.logits(hidden_BSH)  # the reference applies its head twice in every pass, whether or not it is used
    return NextToken(logits[0, -1], base_logits[0, -1], float(weight_BS[0, -1]), tokens)


def naive_roll_out(
    model: ThoughtModel,
    ids_BS: torch.Tensor,
    real_BS: torch.Tensor,
    given: torch.Tensor | Draw,
    *,
    talk: int,
    thoughts: int = 1,
) -> Rollout:
    """What `roll_out` gives at all positions, as n_ahead + talk - 1 passes one after the other over rows [B * P].

    `given` are the thoughts [B, P, S, N], or how each of `thoughts` is drawn between the passes.
    """
    anchors_BS, count = all_anchors(ids_BS), given.shape[1] if isinstance(given, torch.Tensor) else thoughts
    ids_RS, real_RS = ids_BS.repeat_interleave(count, 0), real_BS.repeat_interleave(count, 0)
    passes, inputs, tokens = Passes(model, real_RS), model.config.inputs, []
    with _plain_attention(model):
        base_RSH = passes.run(model.embed(ids_RS))
        hidden_RSH = passes.run(model.thought_parameters.start.expand_as(base_RSH))
        for step in range(model.config.sampled_tokens):
            if isinstance(given, torch.Tensor):
                tokens.append(given[..., step].flatten(0, 1))
            else:
                tokens.append(given(step, model.thought_logits(hidden_RSH.detach())))
            hidden_RSH = passes.run(model.embed(tokens[-1]))
        if inputs > 1:
            passes.run(model.thought_parameters.end.expand_as(base_RSH))
        for step in range(1, talk):
            passes.run(model.embed(ids_RS.roll(-step, 1)))
    tokens_RSN = torch.stack(tokens, -1) if tokens else ids_RS.new_zeros((*ids_RS.shape, 0))
    thoughts_BPSN = torch.unflatten(tokens_RSN, 0, (-1, count))
    base_BSH = torch.unflatten(base_RSH, 0, (-1, count)).mean(
        1
    )  # equal rows: the mean spreads their gradient over them
    rows_BGPSH = torch.unflatten(torch.stack(passes.hidden_BSH[1:], 1), 0, (-1, count)).transpose(1, 2)
    return Rollout(
        base_BSH,
        rows_BGPSH[:, :inputs],
        rows_BGPSH[:, inputs - 1 :],
        anchors_BS,
        torch.ones_like(anchors_BS, dtype=torch.bool),
        thoughts_BPSN,
        next_labels(ids_BS, real_BS),
    )
