"""The parameters that turn a language model into a thinking one: start vector, end vector, talk head.

The names are the reference's (`start_embedding`, `end_embedding`, `talk_head.0.{0,2,4}`), so its checkpoints load as
they are. Row 0 of an embedding, times 100, is the vector; row 1, a log-deviation there, is kept and never read.

    parameters = ThoughtParameters(hidden_size=64)
    weight = parameters.weight(base_hidden, thought_hidden)         # [...], any real number: there is no sigmoid

Ours may have a gate besides, which tells from the plain state whether to think at all (`gate_head`, after Fu et al.
2025, Think at Hard, arXiv 2511.08577). The reference has none.

Zelikman et al. 2024 (arXiv 2403.09629), section 4.3.
"""

from __future__ import annotations

import torch
from torch import nn

from isoflop.quietstar.config import EMBEDDING_SCALE

INITIAL_DEVIATION = 0.02


class ThoughtParameters(nn.Module):
    """New ones are drawn from N(0, 0.02) with the last layer 0: the mixture starts as the plain model."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.start_embedding = nn.Parameter(torch.zeros(2, hidden_size))
        self.end_embedding = nn.Parameter(torch.zeros(2, hidden_size))
        self.talk_head = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Linear(2 * hidden_size, hidden_size),
                    nn.ReLU(),
                    nn.Linear(hidden_size, hidden_size),
                    nn.ReLU(),
                    nn.Linear(hidden_size, 1, bias=False),
                )
            ]
        )
        linears = [module for module in self.talk_head.modules() if isinstance(module, nn.Linear)]
        for linear in linears:
            nn.init.normal_(linear.weight, std=INITIAL_DEVIATION)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        nn.init.zeros_(linears[-1].weight)
        self.gate_head: GateHead | None = None

    def add_gate(self) -> GateHead:
        """The gate, a new one if there is none: it starts undecided."""
        if self.gate_head is None:
            like = self.start_embedding
            self.gate_head = GateHead(like.new_zeros(1, like.shape[1]), like.new_zeros(1))
        return self.gate_head

    @property
    def start(self) -> torch.Tensor:
        """The vector that begins a thought, [H]."""
        return self.start_embedding[0] * EMBEDDING_SCALE

    @property
    def end(self) -> torch.Tensor:
        """The vector that ends a thought, [H]."""
        return self.end_embedding[0] * EMBEDDING_SCALE

    def use_vector(self, vector: torch.Tensor) -> None:
        """Make both vectors equal to `vector` [H] (divided and multiplied again, with the rounding of the dtype)."""
        with torch.no_grad():
            self.start_embedding[0] = vector / EMBEDDING_SCALE
            self.end_embedding[0] = vector / EMBEDDING_SCALE

    def weight(self, base_hidden: torch.Tensor, thought_hidden: torch.Tensor) -> torch.Tensor:
        """How much the thought counts: [..., H] twice -> [...]."""
        both = torch.cat([base_hidden, thought_hidden], dim=-1)
        weight: torch.Tensor = self.talk_head[0](both)
        return weight[..., 0]

    def mix(self, base_hidden: torch.Tensor, thought_hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mixed hidden state [..., H] and its weight [...]."""
        weight = self.weight(base_hidden, thought_hidden)
        share = weight[..., None]
        return (1 - share) * base_hidden + share * thought_hidden, weight


class GateHead(nn.Module):
    """Whether a thought before the next token is worth its cost, told from the plain state alone: a probability.

    Its tensors are `gate_head.weight` [1, H] and `gate_head.bias` [1], among those of a thought.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())

    def forward(self, base_hidden: torch.Tensor) -> torch.Tensor:
        """Plain states [..., H] -> probabilities [...]."""
        return torch.sigmoid(self.log_odds(base_hidden))

    def log_odds(self, base_hidden: torch.Tensor) -> torch.Tensor:
        """Of the same probabilities."""
        with torch.autocast(base_hidden.device.type, enabled=False):  # one number a place is to be exact
            return nn.functional.linear(base_hidden.float(), self.weight.float(), self.bias.float())[..., 0]
