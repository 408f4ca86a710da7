"""A causal language model of transformers with thoughts on it, exactly as the public Quiet-STaR computes them.

The newest token's thought hangs beside the cache of visible tokens and is dropped once it has been mixed in. The start
vector rides with the newest token, the end vector with the last sampled one: n_ahead = 8 takes 6 forwards of 8 rows in
all. It is not an engine: one sequence at a time (`Session`), or every position of a batch (`all_positions`).

    model = ThoughtModel.load(folder, n_ahead=8)
    out = model.next_token([5, 6, 7], thoughts="greedy")
    session = model.session()                       # or step by step, on one cache
    session.next_token([5, 6, 7]); session.next_token([8])

`naive.py` is its twin. Zelikman et al. 2024 (arXiv 2403.09629).

Legend: B sequences, S positions, V new visible tokens, A anchors (positions that think), G rows of a thought, H hidden
size, W vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from isoflop.errors import EngineError
from isoflop.quietstar.branches import NAME, Branches
from isoflop.quietstar.checkpoint import load_checkpoint, save_checkpoint
from isoflop.quietstar.checks import check_base, check_ids
from isoflop.quietstar.config import ThoughtConfig, ThoughtVectors
from isoflop.quietstar.head import ThoughtParameters
from isoflop.quietstar.thoughts import Choose, Thoughts, chooser

Ids = Sequence[int] | npt.NDArray[Any] | torch.Tensor
# Visible tokens of one forward at most: it bounds the memory of attention scores over a long prompt.
PROMPT_CHUNK = 512


@dataclass(frozen=True, slots=True)
class NextToken:
    """Raw scores (nats, float32) of the next token. `logits` are mixed with `weight`, any real number; nothing is
    masked in them: ids that may not be emitted (`model.config.thought_ids`) are for the caller to leave out."""

    logits: torch.Tensor
    base_logits: torch.Tensor
    weight: float
    thoughts: list[int]


@dataclass(frozen=True, slots=True)
class AllPositions:
    """The same at every position: logits [B, S, W], weights after each input of the thought [B, S, n_ahead - 1] (the
    last one enters the logits), thoughts [B, S, n_ahead - 3]. Without B where one sequence was given."""

    logits: torch.Tensor
    base_logits: torch.Tensor
    weights: torch.Tensor
    thoughts: torch.Tensor


@dataclass(frozen=True, slots=True)
class Thought:
    """Hidden states of the new visible tokens and of each input of the thoughts, and the tokens chosen."""

    visible_BVH: torch.Tensor
    inputs_BGAH: torch.Tensor
    tokens_BAN: torch.Tensor


class ThoughtModel(nn.Module):
    """`base` is any causal LM of transformers; its code is not patched, only its attention function is chosen."""

    def __init__(self, base: Any, parameters: ThoughtParameters, config: ThoughtConfig) -> None:
        super().__init__()
        check_base(base, config)
        base.set_attn_implementation(NAME)
        text = base.config.get_text_config()
        self.base, self.thought_parameters, self.config = base, parameters, config
        self.vocab_size = int(text.vocab_size)
        self._softcap = getattr(text, "final_logit_softcapping", None)
        self._scale = getattr(text, "logit_scale", None) or 1 / (getattr(text, "logits_scaling", None) or 1)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        n_ahead: int | None = None,
        thought_vectors: ThoughtVectors = "learned",
        *,
        dash_token_id: int | None = None,
        dtype: str = "auto",
        device: str = "auto",
    ) -> ThoughtModel:
        """A checkpoint with thoughts: the reference's, or a folder that `save` wrote. No code of it is executed.

        `n_ahead` is not in the reference's checkpoints (8 is taken); our own folders remember it.
        """
        wanted = (n_ahead, thought_vectors, dash_token_id, dtype, device)
        base, parameters, config = load_checkpoint(str(folder), *wanted)
        return cls(base, parameters, config).eval()

    @classmethod
    def put_on(cls, base: Any, *, n_ahead: int = 8, start_token_id: int | None = None, seed: int = 0) -> ThoughtModel:
        """Untrained thoughts on a plain causal LM: it computes what the plain model does until it is trained.

        Both vectors begin as the embedding of `start_token_id` (the reference takes that of `---`), or as the mean
        embedding where none is given.
        """
        table = base.get_input_embeddings().weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parameters = ThoughtParameters(base.config.get_text_config().hidden_size).to(table.device, table.dtype)
        parameters.use_vector(table.detach()[start_token_id] if start_token_id is not None else table.detach().mean(0))
        return cls(base, parameters, ThoughtConfig(n_ahead)).eval()

    def save(self, folder: str | Path) -> None:
        """Write the base model and, beside it, the thought's parameters: `load` and transformers both read it."""
        save_checkpoint(self.base, self.thought_parameters, self.config, Path(folder))

    def session(self) -> Session:
        """A sequence that grows, on one cache."""
        return Session(self)

    def next_token(self, ids: Ids, thoughts: Thoughts = "greedy") -> NextToken:
        """Think after the last of `ids`, and score the next token."""
        return Session(self).next_token(ids, thoughts)

    @torch.no_grad()
    def all_positions(
        self, ids: Ids, thoughts: Thoughts = "greedy", attention_mask: torch.Tensor | None = None
    ) -> AllPositions:
        """Think at every position of [S] or [B, S] ids at once; position p is as `next_token(ids[:p + 1])`.

        `attention_mask` [B, S] is 0 at padding, which stands on the right.
        """
        given = torch.as_tensor(ids)
        ids_BS = check_ids(given.reshape(-1, given.shape[-1]), self.vocab_size, self.config).to(self.device)
        real = None if attention_mask is None else attention_mask.to(self.device).bool()
        anchors_BA = torch.arange(ids_BS.shape[1], device=self.device).expand(ids_BS.shape)
        thought = self.think(Branches(real), self.embed(ids_BS), anchors_BA, self.choose(thoughts))
        base_BASH = thought.visible_BVH[:, None].expand_as(thought.inputs_BGAH)
        weights = self.thought_parameters.weight(base_BASH, thought.inputs_BGAH).float().transpose(1, 2)
        mixed, _ = self.thought_parameters.mix(thought.visible_BVH, thought.inputs_BGAH[:, -1])
        found = (self.logits(mixed), self.logits(thought.visible_BVH), weights, thought.tokens_BAN)
        return AllPositions(*(part[0] if given.ndim == 1 else part for part in found))

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.thought_parameters.start_embedding.device

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """The base model's embeddings of ids."""
        embedded: torch.Tensor = self.base.get_input_embeddings()(ids)
        return embedded

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the base model's head says of hidden states, with its scale and soft cap, in float32."""
        # rows in one block: over any other layout torch copies the whole head for each of its outer dimensions
        rows_MH = hidden.reshape(-1, hidden.shape[-1])
        logits_MW: torch.Tensor = self.base.get_output_embeddings()(rows_MH).float() * self._scale
        logits = logits_MW.view(*hidden.shape[:-1], logits_MW.shape[-1])
        return logits if self._softcap is None else torch.tanh(logits / self._softcap) * self._softcap

    def thought_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the next token inside a thought: unmixed, start and end excluded."""
        logits = self.logits(hidden)
        if self.config.thought_ids:
            never = torch.tensor(self.config.thought_ids, device=logits.device)
            logits = logits.index_fill(-1, never, float("-inf"))
        return logits

    def choose(self, thoughts: Thoughts) -> Choose:
        """The rule that `thoughts` names."""
        return chooser(thoughts, sampled_tokens=self.config.sampled_tokens, vocab_size=self.vocab_size)

    def run(
        self, branches: Branches, visible_BVH: torch.Tensor, groups_BGAH: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One forward of new visible tokens and new rows of every branch -> their final hidden states.

        A base model that is not trained needs no gradient through visible tokens, which see no branch: they go first.
        """
        if torch.is_grad_enabled() and visible_BVH.shape[1] and groups_BGAH.shape[1] and self.base_is_frozen:
            with torch.no_grad():
                visible_BVH, _ = self._run(branches, visible_BVH, groups_BGAH[:, :0])
            return visible_BVH, self._run(branches, visible_BVH[:, :0], groups_BGAH)[1]
        return self._run(branches, visible_BVH, groups_BGAH)

    @property
    def base_is_frozen(self) -> bool:
        """Whether no weight of the base model is trained."""
        return not any(parameter.requires_grad for parameter in self.base.parameters())

    def _run(
        self, branches: Branches, visible_BVH: torch.Tensor, groups_BGAH: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        (batch, visible, size), (groups, anchors) = visible_BVH.shape, groups_BGAH.shape[1:3]
        branches.expect(visible, groups)
        inputs_BNH = torch.cat([visible_BVH, groups_BGAH.flatten(1, 2)], dim=1)
        hidden_BNH = self.base.get_decoder()(
            inputs_embeds=inputs_BNH,
            position_ids=branches.positions_BN(inputs_BNH.device).expand(batch, -1),
            # transformers passes a mask of four dimensions on as it is; ours is made by the branches
            attention_mask=inputs_BNH.new_zeros(1, 1, 1, 1),
            use_cache=False,
            thought_branches=branches,
        ).last_hidden_state
        layers = self.base.config.get_text_config().num_hidden_layers
        if branches.calls != layers:
            raise EngineError(
                f"{branches.calls} of the {layers} layers of {type(self.base).__name__} use transformers' attention "
                "interface; the others would not see the thoughts. Use a model whose layers all do"
            )
        thought_BGAH = hidden_BNH[:, visible:].reshape(batch, groups, anchors, size)
        return hidden_BNH[:, :visible], thought_BGAH

    def think(self, branches: Branches, visible_BVH: torch.Tensor, anchors_BA: torch.Tensor, choose: Choose) -> Thought:
        """Feed visible tokens, think at the anchors, and take the thoughts back out of the cache."""
        sampled = self.config.sampled_tokens
        shape_BAH = (len(visible_BVH), anchors_BA.shape[1], visible_BVH.shape[-1])
        start_BAH, end_BAH = (v.expand(shape_BAH) for v in (self.thought_parameters.start, self.thought_parameters.end))
        branches.open(anchors_BA)
        # What is known in advance rides along: the start vector with the visible tokens, the end with the last token.
        first = [start_BAH, end_BAH] if self.config.inputs == 2 else [start_BAH]
        visible_BVH, inputs_BGAH = self.run(branches, visible_BVH, torch.stack(first, 1))
        inputs, tokens = [inputs_BGAH], []
        for step in range(sampled):
            token_BA = choose(step, self.thought_logits(inputs[-1][:, -1]), anchors_BA)
            tokens.append(token_BA)
            following = [self.embed(token_BA)] + [end_BAH] * (step == sampled - 1)
            inputs.append(self.run(branches, visible_BVH[:, :0], torch.stack(following, 1))[1])
        branches.close()
        tokens_BAN = torch.stack(tokens, -1) if tokens else anchors_BA.new_zeros((*shape_BAH[:2], 0))
        return Thought(visible_BVH, torch.cat(inputs, 1), tokens_BAN)


class Session:
    """One growing sequence: each call appends visible tokens and thinks after the last of them."""

    def __init__(self, model: ThoughtModel) -> None:
        self.model, self._branches = model, Branches()

    @property
    def tokens(self) -> int:
        """Visible tokens so far."""
        return self._branches.tokens

    @torch.no_grad()
    def next_token(self, new_ids: Ids, thoughts: Thoughts = "greedy") -> NextToken:
        """Append `new_ids`, think after the last one, score the next token."""
        model = self.model
        ids_1V = check_ids(torch.as_tensor(new_ids)[None], model.vocab_size, model.config)
        choose = model.choose(thoughts)
        embedded_1VH = model.embed(ids_1V.to(model.device))
        none_1GAH = embedded_1VH[:, :0, None]
        while embedded_1VH.shape[1] > PROMPT_CHUNK:
            model.run(self._branches, embedded_1VH[:, :PROMPT_CHUNK], none_1GAH)
            embedded_1VH = embedded_1VH[:, PROMPT_CHUNK:]
        last = self.tokens + embedded_1VH.shape[1] - 1
        anchor_11 = torch.full((1, 1), last, device=model.device)
        thought = model.think(self._branches, embedded_1VH, anchor_11, choose)
        base_H, end_H = thought.visible_BVH[0, -1], thought.inputs_BGAH[0, -1, 0]
        mixed_H, weight = model.thought_parameters.mix(base_H, end_H)
        logits_2W = model.logits(torch.stack([mixed_H, base_H]))
        return NextToken(logits_2W[0], logits_2W[1], float(weight), thought.tokens_BAN[0, 0].tolist())
