"""A logistic head on frozen features: cross-entropy on soft labels with L2, stopped early on problems held out.

It sees numbers alone: one row a step. Inputs are standardised for the fit and the standardisation is folded into the
weights, so that the head reads raw hidden states. The same rows and seed give the same head.

    fit = fit_head(rows, held_out={"p7"}, seed=0, options=HeadOptions(), trunk="path/to/model")
    fit.head, best_of(fit.epochs).held_out_auc

Legend: S steps, D hidden size, F log-prob features, X inputs of the fit (D, or D and F).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from isoflop.reward_training.epochs import Epoch, best_of, is_over, measure
from isoflop.rewards.head_folder import Head, Standardised
from isoflop.specs import require

_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """`patience`: epochs without a lower held-out loss before it stops."""

    l2: float = 0.01
    learning_rate: float = 0.01
    batch_steps: int = 256
    epochs: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        require(self.l2 >= 0, f"l2={self.l2}: 0 or more")
        require(self.learning_rate > 0, f"learning_rate={self.learning_rate}: more than 0")
        for name in ("batch_steps", "epochs", "patience"):
            require(getattr(self, name) >= 1, f"{name}={getattr(self, name)}: at least 1")


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled steps: hidden states, log-prob features or None, targets in [0, 1], and each step's problem."""

    hidden_SD: torch.Tensor
    features_SF: torch.Tensor | None
    target_S: torch.Tensor
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class HeadFit:
    """The head of the best epoch, all epochs, and the head's logits for all rows."""

    head: Head
    epochs: tuple[Epoch, ...]
    logit_S: torch.Tensor


def fit_head(rows: Rows, held_out: Set[str], seed: int, options: HeadOptions, trunk: str) -> HeadFit:
    """Fit on the problems that are not held out."""
    is_held_S = torch.tensor([problem in held_out for problem in rows.problems])
    parts = [rows.hidden_SD.float()] + ([] if rows.features_SF is None else [rows.features_SF.float()])
    input_SX = torch.cat(parts, dim=1)
    mean_X = input_SX[~is_held_S].mean(dim=0)
    deviation_X = input_SX[~is_held_S].std(dim=0, correction=0).clamp_min(_LEAST_DEVIATION)
    scaled_SX = (input_SX - mean_X) / deviation_X
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(scaled_SX.shape[1], 1)
    nn.init.normal_(linear.weight, std=0.01, generator=generator)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.Adam(linear.parameters(), lr=options.learning_rate)
    train = torch.nonzero(~is_held_S)[:, 0]
    kept: dict[str, torch.Tensor] = {}
    epochs: list[Epoch] = []
    while not is_over(epochs, options.epochs, options.patience):
        order = train[torch.randperm(len(train), generator=generator)]
        for batch in torch.split(order, options.batch_steps):
            loss = cross_entropy(linear(scaled_SX[batch])[:, 0], rows.target_S[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss + options.l2 / 2 * linear.weight.square().sum())
            optimizer.step()
        with torch.no_grad():
            epochs.append(measure(seed, len(epochs) + 1, linear(scaled_SX)[:, 0], rows.target_S, is_held_S))
        if best_of(epochs) is epochs[-1]:
            kept = {name: tensor.clone() for name, tensor in linear.state_dict().items()}
    head = _folded(kept["weight"][0], kept["bias"], mean_X, deviation_X, rows, trunk)
    return HeadFit(head, tuple(epochs), logits(head, rows))


def logits(head: Head, rows: Rows) -> torch.Tensor:
    """What the head says of each row [S]."""
    found = rows.hidden_SD.float() @ head.weight_1D[0] + head.bias_1
    if head.features is not None and rows.features_SF is not None:
        own = head.features
        found = found + ((rows.features_SF.float() - own.mean_F) / own.deviation_F) @ own.weight_F
    return found


def _folded(
    weight_X: torch.Tensor,
    bias_1: torch.Tensor,
    mean_X: torch.Tensor,
    deviation_X: torch.Tensor,
    rows: Rows,
    trunk: str,
) -> Head:
    """The head on raw hidden states; features stay standardised by numbers of their own."""
    size = rows.hidden_SD.shape[1]
    scaled_D = weight_X[:size].double() / deviation_X[:size].double()
    bias = bias_1.double() - scaled_D @ mean_X[:size].double()
    features = None
    if rows.features_SF is not None:
        features = Standardised(weight_X[size:], mean_X[size:], deviation_X[size:])
    return Head(scaled_D.float()[None], bias.float(), trunk, features)
