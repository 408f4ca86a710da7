"""The scorer of a judge that writes: a greedy check behind the passage, a fixed question, and the logits of its answer.

Every passage is read anew and its check written anew; within a passage nothing is computed twice. It holds the whole
LM head beside the rows that are read.

    scorer = CheckScorer(model, "path/to/model", verdict="\\nCorrect?\\n", check_tokens=200)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from isoflop.cost.ledger import Cost
from isoflop.errors import ModelError
from isoflop.rewards.encode import Passage
from isoflop.rewards.models import ScoringModel, Weights, language_head, local_folder
from isoflop.rewards.score_naive import prices_of
from isoflop.rewards.scorer import Outlook, Reading, Scorer
from isoflop.runtime.loading import load_tokenizer


class CheckScorer(Scorer):
    """See the module. A check ends at an end-of-sequence token or after `check_tokens` tokens."""

    def __init__(self, model: ScoringModel, path: str, verdict: str, check_tokens: int) -> None:
        self.model, self.check_tokens = model, check_tokens
        device = next(model.parameters()).device
        self._lm_head = language_head(Weights(local_folder(path)), model.decoder).to(device)
        tokenizer = load_tokenizer(path)
        self._verdict: list[int] = tokenizer(verdict, add_special_tokens=False)["input_ids"]
        self._ends = _ends(model, tokenizer)
        self.prices = prices_of(model)
        self.context_tokens = model.context_tokens - check_tokens - len(self._verdict)
        if self.context_tokens < 1:
            raise ModelError(
                f"check_tokens={check_tokens} and the verdict's {len(self._verdict)} tokens leave no room for a "
                f"question in the model's context of {model.context_tokens}; lower check_tokens"
            )

    @torch.inference_mode()
    def read(self, passages: Sequence[Passage], searches: Sequence[str]) -> list[Reading]:
        """A check and a verdict for each passage."""
        return [self._one(passage) for passage in passages]

    def price(self, outlook: Outlook) -> int:
        """Every passage with a check of full length."""
        longest = outlook.known + outlook.new + outlook.tail
        each = self._cost(longest, self.check_tokens, True).flops
        return (outlook.steps + outlook.new_steps) * each

    def written(self, passage: Passage) -> list[int]:
        """The tokens of the check."""
        return self._write(passage)[0]

    def _one(self, passage: Passage) -> Reading:
        check, unread, cache = self._write(passage)
        ended = unread[0] in self._ends
        tail = self._verdict if ended else [*unread, *self._verdict]
        logits_RC = self.model.read(self._forward(tail, cache)[-1:])
        computed = self._cost(len(passage.tokens), len(check) + ended, not ended)
        cost = replace(computed, naive_flops=computed.flops)
        return Reading(tuple(map(tuple, logits_RC.tolist())), cost, cost)

    def _write(self, passage: Passage) -> tuple[list[int], list[int], Any]:
        """The check, its last sampled token (not yet read by the model), and the cache."""
        from transformers import DynamicCache

        cache = DynamicCache()
        check: list[int] = []
        hidden = self._forward(passage.tokens, cache)[-1:]
        while True:
            token = int(self._lm_head(hidden).argmax())
            if token in self._ends:
                return check, [token], cache
            check.append(token)
            if len(check) == self.check_tokens:
                return check, [token], cache
            hidden = self._forward([token], cache)

    def _forward(self, tokens: Sequence[int], cache: Any) -> torch.Tensor:
        device = next(self.model.parameters()).device
        ids = torch.tensor([list(tokens)], device=device)
        output = self.model.decoder(input_ids=ids, past_key_values=cache, use_cache=True)
        hidden_ND: torch.Tensor = output.last_hidden_state[0]
        return hidden_ND

    def _cost(self, known: int, sampled: int, last_is_read: bool) -> Cost:
        """Reading, writing `sampled` tokens, and the verdict; the last token sampled is fed unless it was the end."""
        pricer = self.prices.pricer
        written = pricer.prefill_cost(0, known) + pricer.decode_cost(known, sampled - 1)
        asked = self.prices.cost(known + sampled - 1, len(self._verdict) + last_is_read, 1)
        # The verdict's question is read behind what is cached, but only the passage was a prompt.
        return replace(written + asked, new_tokens=sampled, cached_tokens=0)


def _ends(model: ScoringModel, tokenizer: Any) -> set[int]:
    listed = model.config.get_text_config().eos_token_id
    found = set(listed) if isinstance(listed, list) else {listed}
    return {int(token) for token in found | {tokenizer.eos_token_id} if token is not None}
