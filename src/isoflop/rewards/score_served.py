"""The scorer on a server: passages go as token ids, logits come back, all passages at once.

A head's logits come without the server's own activation, so the same read-out makes the rewards of this process.
A language model is asked for one token, of two that are allowed, once for each step: its log-probabilities differ from
its logits by a constant that the read-out does not see.

    scorer = ServedScorer(Client(address), "prm", Way("pooling"), prices, context_tokens=4096)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from transformers import AutoConfig

from isoflop.cost.flops import Pricer
from isoflop.cost.shape import ModelShape, load_shape
from isoflop.errors import EngineError, ModelError, RewardError
from isoflop.http.client import Client, Document, Meter
from isoflop.http.failures import Failure
from isoflop.rewards.base import Reward
from isoflop.rewards.encode import Encoder, Passage
from isoflop.rewards.format import ReadOut
from isoflop.rewards.model_reward import ModelReward
from isoflop.rewards.models import word_ids
from isoflop.rewards.public import ModelRewardSpec
from isoflop.rewards.scorer import HeadPrice, Outlook, Reading, Scorer
from isoflop.rewards.served import Served
from isoflop.runtime.loading import load_tokenizer


@dataclass(frozen=True, slots=True)
class Way:
    """How the server is asked; `words` are the tokens of the two words that a language model may say."""

    kind: Literal["pooling", "classify", "words"]
    words: tuple[int, ...] = ()


class ServedScorer(Scorer):
    """See the module."""

    def __init__(self, client: Client, model: str, way: Way, prices: HeadPrice, context_tokens: int) -> None:
        self._client, self._model, self._way, self._prices = client, model, way, prices
        self.context_tokens = context_tokens

    def read(self, passages: Sequence[Passage], searches: Sequence[str]) -> list[Reading]:
        """Raises RewardError where the server fails on one of them, EngineError where it fails on all."""
        try:
            return self._client.now(self._all(passages))
        except Failure as failure:
            kind = EngineError if failure.fatal else RewardError
            raise kind(f"the reward's server: {failure.message}") from None

    def price(self, outlook: Outlook) -> int:
        """Nothing is taken to be cached."""
        return self._prices.from_scratch(outlook, apart=self._way.kind == "words")

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()

    async def _all(self, passages: Sequence[Passage]) -> list[Reading]:
        tasks = [asyncio.ensure_future(self._one(passage)) for passage in passages]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _one(self, passage: Passage) -> Reading:
        if self._way.kind != "words":
            return await self._head(passage)
        asked = [self._said(passage.tokens[: read + 1]) for read in passage.reads]
        told = [await one for one in asked]  # in order, so that each finds the one before in the server's cache
        first = told[0]
        for more in told[1:]:
            first = Reading(first.logits + more.logits, first.cost + more.cost, first.charged + more.charged)
        return first

    async def _head(self, passage: Passage) -> Reading:
        """The head's logits at the reads, from one call."""
        meter, whole = Meter(), self._way.kind == "classify"
        body: Document = {"model": self._model, "input": list(passage.tokens), "use_activation": False}
        document = await self._client.post("/classify" if whole else "/pooling", body if whole else body | _TASK, meter)
        self._check(document, len(passage.tokens))
        [entry] = document["data"]
        rows = [entry["probs"]] if whole else _at_reads(entry["data"], passage)
        logits = tuple(tuple(map(float, row if isinstance(row, list) else [row])) for row in rows)
        return self._reading(logits, 0, len(passage.tokens), meter)

    async def _said(self, tokens: Sequence[int]) -> Reading:
        """The log-probabilities of the two words behind a text."""
        words, meter = list(self._way.words), Meter()
        body: Document = {
            "model": self._model,
            "prompt": list(tokens),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": len(words),
            "allowed_token_ids": words,
            "logprob_token_ids": words,
            "return_tokens_as_token_ids": True,
        }
        document = await self._client.post("/v1/completions", body, meter)
        usage = self._check(document, len(tokens))
        told = document["choices"][0]["logprobs"]["top_logprobs"][0]
        names = [f"token_id:{word}" for word in words]
        if not set(names) <= set(told):
            raise Failure(f"the server gave log-probabilities of {sorted(told)}, not of {names}", fatal=True)
        cached = min((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0, len(tokens) - 1)
        return self._reading((tuple(told[name] for name in names),), cached, len(tokens), meter)

    def _check(self, document: Document, sent: int) -> dict[str, Any]:
        """The usage, if the server has read what was sent."""
        usage: dict[str, Any] = document.get("usage") or {}
        read = usage.get("prompt_tokens", sent)
        if read != sent:
            raise Failure(f"the server read {read} tokens where {sent} were sent: it changes its prompts", fatal=True)
        return usage

    def _reading(self, logits: tuple[tuple[float, ...], ...], cached: int, tokens: int, meter: Meter) -> Reading:
        cost = self._prices.cost(cached, tokens - cached, len(logits), rows=meter.neighbours)
        naive = self._prices.flops(0, tokens, len(logits))
        cost = replace(cost, cached_tokens=cached, naive_flops=naive, seconds=meter.seconds)
        return Reading(logits, cost, cost)


_TASK = {"task": "token_classify"}


def _at_reads(rows: Sequence[Any], passage: Passage) -> list[Any]:
    """The rows at the reads. There is one for every token or, where the server pools by steps, for every mark."""
    tokens, reads = passage.tokens, passage.reads
    marks = [place for place, token in enumerate(tokens) if token == tokens[reads[0]]]
    places = range(len(tokens)) if len(rows) == len(tokens) else marks
    if len(rows) != len(places) or not set(reads) <= set(places):
        raise Failure(
            f"the server gave {len(rows)} rows for {len(tokens)} tokens, {len(marks)} of them the step's mark "
            f"(token {tokens[reads[0]]}): start vLLM with "
            """--pooler-config '{"tok_pooling_type": "ALL"}'""",
            fatal=True,
        )
    return [rows[places.index(read)] for read in reads]


def open_served(spec: Served, inner: ModelRewardSpec) -> Reward:
    """The reward, once the server has read one small text."""
    tokenizer, readout, form = load_tokenizer(inner.path), inner.readout(), inner.format()
    shape = load_shape(inner.path)
    if readout.kind == "tokens":
        way, flops = Way("words", tuple(word_ids(readout, tokenizer))), 2 * shape.head_parameters
    else:
        way, flops = Way("classify" if form.read == "end" else "pooling"), _head_flops(inner.path, shape, readout)
    prices = HeadPrice(Pricer(shape), flops, flops // 2 * shape.bytes_per_parameter)
    context = min(inner.context_tokens or shape.max_positions, shape.max_positions)
    scorer = ServedScorer(Client(spec.address), spec.model, way, prices, context)
    try:
        encoder = Encoder(form, tokenizer)
        scorer.read(encoder.encode("How much is 1 + 1?", ["1 + 1 = 2"], last_only=True), ["probe"])
        return ModelReward(encoder, readout, scorer, thinking=inner.thinking, last_only=inner.last_only())
    except RewardError as error:
        scorer.close()
        raise ModelError(f"{spec}: {error}") from None
    except BaseException:
        scorer.close()
        raise


def _head_flops(path: str, shape: ModelShape, readout: ReadOut) -> int:
    """FLOPs of a classifying head at one position: one matrix, or two where the architecture says so."""
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    kind = (config.architectures or [""])[0]
    last = 2 * shape.hidden_size * (1 if readout.kind == "value" else int(config.num_labels))
    return last + 2 * shape.hidden_size**2 if kind.endswith("RewardModel") else last
