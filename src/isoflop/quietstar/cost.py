"""What thinking costs, in closed form: the reference's way, and with thoughts beside a cache.

The plain model's share of a thinking token is role `policy` (`Pricer.decode_cost`); what the thought adds is role
`thought`. Mistral-7B at 300 tokens, n_ahead = 8: 37 060 GFLOPs the reference's way, 115 cached, 14 of them plain.

    ThoughtPricer(Pricer(load_shape("mistral-7b")), n_ahead=8).cost(context=300).flops

Legend: M = n_ahead, S = visible tokens up to and with the one that is thought after, H hidden size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from isoflop.cost.flops import Pricer, attended_keys
from isoflop.cost.ledger import Cost, Role
from isoflop.cost.shape import ModelShape
from isoflop.errors import SpecError
from isoflop.quietstar.config import ThoughtConfig
from isoflop.thought import Thought


def talk_head_flops(shape: ModelShape) -> int:
    """One weight: matrices of [H, 2H], [H, H] and [1, H]."""
    return 2 * (3 * shape.hidden_size**2 + shape.hidden_size)


def reference_flops(shape: ModelShape, *, n_ahead: int, context: int) -> int:
    """One next token as the reference computes it: M passes over all S positions, over keys that grow to M * S.

    Each pass applies the LM head twice, each sampled token multiplies a one-hot vector with the embedding table, and
    each input of a thought has a talk-head weight.
    """
    sampled, pricer = _sampled(n_ahead, context), Pricer(shape)
    per_position = n_ahead * pricer.flops_per_token + (2 * n_ahead + sampled) * pricer.flops_per_logits
    per_position += (n_ahead - 1) * talk_head_flops(shape)
    return context * per_position + n_ahead * (n_ahead + 1) // 2 * context**2 * pricer.flops_per_key


def cached_flops(shape: ModelShape, *, n_ahead: int, context: int) -> int:
    """One next token with a cache, logits of the plain model included."""
    pricer = Pricer(shape)
    return ThoughtPricer(pricer, n_ahead).cost(context).flops + pricer.decode(context - 1, 1)


class ThoughtPricer:
    """The coefficients of one shape and one n_ahead. `matrix_flops`: what a thought multiplies with weights."""

    def __init__(self, pricer: Pricer, n_ahead: int) -> None:
        config, shape = ThoughtConfig(n_ahead), pricer.shape
        self.pricer, self.inputs, self.sampled = pricer, config.inputs, config.sampled_tokens
        self.talk_head_flops = talk_head_flops(shape)
        heads = (self.sampled + 1) * pricer.flops_per_logits
        self.matrix_flops = self.inputs * pricer.flops_per_token + heads + self.talk_head_flops
        self._windows = tuple(Counter(shape.windows).items())
        self.flops_per_layer_key = pricer.flops_per_key // shape.layers
        self.bytes_per_layer_key = 2 * shape.kv_width * shape.bytes_per_parameter
        self._weight_bytes = pricer.weight_bytes(1, 1)

    def cost(self, context: int, thoughts: int = 1, *, rides: bool = True) -> Cost:
        """What thoughts after `context`, `context` + 1 ... visible tokens add to the plain forwards of the newest ones.

        M - 1 rows through the layers; logits for each sampled token and for the mixture; the talk head. The start rides
        with the newest token (where not, it takes a forward of its own) and the end with the last sampled one, so there
        are M - 3 forwards more than without a thought. Row k sees what the newest token sees, and the k rows of its own
        thought.
        """
        _sampled(self.inputs + 1, context)
        inputs, layers = self.inputs, self.pricer.shape.layers
        own = inputs * (inputs + 1) // 2
        seen = self._seen(context, thoughts)
        pairs = inputs * seen + thoughts * layers * own
        # The two rows of the last forward are multiplied with the same keys, the later row's own among them.
        masked = 1 if inputs > 1 else 0
        executed = layers * (inputs * attended_keys(context - 1, thoughts) + thoughts * (own + masked))
        forwards = self.sampled + (not rides)
        # The first forward reads the visible keys for the newest token anyway; each further one reads them again.
        own_read = sum(range(1, self.sampled + 1)) + (2 if self.sampled else 0) + (not rides)
        return Cost(
            decode_flops=thoughts * self.matrix_flops + self.flops_per_layer_key * pairs,
            executed_flops=thoughts * self.matrix_flops + self.flops_per_layer_key * executed,
            weight_bytes=thoughts * forwards * self._weight_bytes,
            kv_read_bytes=self.bytes_per_layer_key * (forwards * seen + thoughts * layers * own_read),
            serial_forwards=thoughts * forwards,
            new_tokens=thoughts * self.sampled,
        )

    def ahead(self, context: int, thoughts: int = 1, *, waited: int = 0, dropped: int = 0) -> Cost:
        """The same where tokens are drafted ahead; each thought waited for so many forwards and made so many drafts
        worthless.

        A thought's rows ride with newest tokens, so that only the forwards that it waited for are its own. When it
        ends, the j-th draft behind its token has been fed, and of that one's own thought M - 2 - j rows.
        """
        _sampled(self.inputs + 1, context)
        layers, last = self.pricer.shape.layers, self.sampled
        # Of each draft: how far behind the token, its rows and those of its thought.
        drafts = [(behind, 1 + last - behind + 1) for behind in range(1, dropped + 1)]
        rows = sum(count for _, count in drafts)
        owns = self.inputs * (self.inputs + 1) // 2 + sum(count * (count - 1) // 2 for _, count in drafts)
        pairs = self.inputs * self._seen(context, thoughts) + thoughts * layers * owns
        pairs += sum(count * self._seen(context + behind, thoughts) for behind, count in drafts)
        linear = thoughts * (self.matrix_flops + rows * (self.pricer.flops_per_token + self.pricer.flops_per_logits))
        # Which rows go through a forward in which the newest token is so many behind: all are multiplied with all keys.
        newest = [*range(last + 1), *([last] if self.inputs > 1 else [])]
        newest += [behind + k for behind, count in drafts for k in (0, *range(count - 1))]
        front = thoughts * (last + 1) * self.inputs
        executed = layers * sum(front + attended_keys(context - 1 + behind, thoughts) for behind in newest)
        own_read = last * (last + 1) // 2 + self.inputs + sum(count * (count - 1) // 2 for _, count in drafts)
        read = waited * self._seen(context, thoughts) + thoughts * layers * own_read
        return Cost(
            decode_flops=linear + self.flops_per_layer_key * pairs,
            executed_flops=linear + self.flops_per_layer_key * executed,
            weight_bytes=thoughts * waited * self._weight_bytes,
            kv_read_bytes=self.bytes_per_layer_key * read,
            serial_forwards=thoughts * waited,
            new_tokens=thoughts * (self.sampled + rows),
        )

    def _seen(self, context: int, thoughts: int) -> int:
        """Keys that the newest of `context`, `context` + 1 ... visible tokens sees, in all layers."""
        return sum(count * attended_keys(context - 1, thoughts, window) for window, count in self._windows)


class ThinkingCosts:
    """What an engine says its thoughts take. `rides`: it is known before a token is fed that there will be a thought
    behind it; `ahead`: tokens are drafted meanwhile."""

    def __init__(self, pricer: Pricer, n_ahead: int, *, rides: bool = True, ahead: bool = False) -> None:
        self.prices = ThoughtPricer(pricer, n_ahead)
        self._rides, self._ahead = rides, ahead

    @property
    def waited(self) -> int:
        """Forwards that a token waits for its thought alone, unless it was drafted ahead."""
        return self.prices.sampled + (not self._rides)

    def most(self, start: int, tokens: int) -> Mapping[Role, Cost]:
        """Thoughts before each of `tokens` tokens behind `start` known ones; ahead, as if no draft stayed."""
        if not tokens:
            return {}
        if self._ahead:
            sampled = self.prices.sampled
            return {"thought": self.prices.ahead(start, tokens, waited=sampled, dropped=sampled)}
        return {"thought": self.prices.cost(start, tokens, rides=self._rides)}

    def took(self, place: int, thought: Thought) -> Mapping[Role, Cost]:
        """One thought behind `place` tokens; ahead, with what it waited for and the drafts that it made worthless."""
        if self._ahead:
            return {"thought": self.prices.ahead(place, waited=thought.waited, dropped=thought.dropped)}
        return {"thought": self.prices.cost(place, rides=self._rides)}


def _sampled(n_ahead: int, context: int) -> int:
    if context < 1:
        raise SpecError(f"context={context}: a thought follows a visible token, so there is at least one")
    return ThoughtConfig(n_ahead).sampled_tokens
