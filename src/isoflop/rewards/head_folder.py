"""The head of a shared-trunk reward, as its training writes it and `trunk(path)` reads it: two files in a folder.

The logit of a step is w . h + b, and with log-prob features also their weighted sum. h is the model's final hidden
state, behind its last norm (transformers' `last_hidden_state`), at the position before the step's last token: the one
that chose that token. It holds no model and trains nothing.

    save_head("heads/first", Head(weight_1D, bias_1, trunk="Qwen/Qwen2.5-0.5B-Instruct"))
    head = load_head("heads/first")
    head.logit(readout, step.logprobs)              # readout: w . h + b, by the engine

Legend: D hidden size, F features (`FEATURES`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from isoflop.errors import ModelError
from isoflop.runtime.readout import CONFIG, FORMAT, TENSORS, read_head_folder

# Of the log-probabilities of the sampled tokens: of a step, and of the whole path up to its end.
FEATURES = ("mean", "min")
PATH_FEATURES = (*FEATURES, "path_sum", "path_min")


def log_prob_features(logprobs: Sequence[float]) -> tuple[float, float]:
    """The features of a step, in the order of `FEATURES`; `logprobs` must not be empty."""
    return math.fsum(logprobs) / len(logprobs), min(logprobs)


def path_features(logprobs: Sequence[float], before: Sequence[float]) -> tuple[float, float, float, float]:
    """The features of a step behind a path with the log-probabilities `before`, in the order of `PATH_FEATURES`."""
    whole = (*before, *logprobs)
    return *log_prob_features(logprobs), math.fsum(whole), min(whole)


@dataclass(frozen=True, slots=True, eq=False)
class Standardised:
    """Feature weights [F], for features less their mean [F] and divided by their deviation [F]."""

    weight_F: torch.Tensor
    mean_F: torch.Tensor
    deviation_F: torch.Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """`PATH_FEATURES` where there are as many weights, else `FEATURES`."""
        return PATH_FEATURES if len(self.weight_F) == len(PATH_FEATURES) else FEATURES

    def logit(self, logprobs: Sequence[float], before: Sequence[float] = ()) -> float:
        """What the features add to a step's logit."""
        columns = zip(
            path_features(logprobs, before)[: len(self.names)],
            self.weight_F.tolist(),
            self.mean_F.tolist(),
            self.deviation_F.tolist(),
            strict=True,
        )
        return math.fsum(weight * (value - mean) / deviation for value, weight, mean, deviation in columns)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """`trunk` names the model that the head was trained on; `features` is None where it reads hidden states alone."""

    weight_1D: torch.Tensor
    bias_1: torch.Tensor
    trunk: str
    features: Standardised | None = None

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.weight_1D.shape[1]

    def logit(self, readout: float, logprobs: Sequence[float], before: Sequence[float] = ()) -> float:
        """A step's logit from its read-out and the log-probabilities of its sampled tokens, and of those before it."""
        return readout + (0.0 if self.features is None else self.features.logit(logprobs, before))


def save_head(folder: str | Path, head: Head) -> None:
    """Write the folder; its two files are replaced where they are there already."""
    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": head.weight_1D, "bias": head.bias_1}
    if head.features is not None:
        tensors["feature_weight"] = head.features.weight_F
        tensors["feature_mean"] = head.features.mean_F
        tensors["feature_deviation"] = head.features.deviation_F
    save_file({name: tensor.detach().cpu().float().contiguous() for name, tensor in tensors.items()}, place / TENSORS)
    config = {
        "format": FORMAT,
        "hidden_size": head.hidden_size,
        "trunk": head.trunk,
        "features": list(head.features.names) if head.features is not None else [],
    }
    (place / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def load_head(folder: str | Path) -> Head:
    """The head in a folder. Raises ModelError where it is none."""
    config, tensors = read_head_folder(str(folder))
    if len(tensors["weight"]) != 1:
        raise ModelError(f"the head {str(folder)!r} gives {len(tensors['weight'])} numbers a step; a reward is one")
    features = None
    if config.get("features"):
        names = ("feature_weight", "feature_mean", "feature_deviation")
        shapes = {name: tuple(tensors[name].shape) for name in names if name in tensors}
        known = (list(FEATURES), list(PATH_FEATURES))
        if config["features"] not in known or shapes != dict.fromkeys(names, (len(config["features"]),)):
            raise ModelError(
                f"the head {str(folder)!r} has features {config['features']} of shapes {shapes}; "
                f"known are {known[0]} and {known[1]}, with {', '.join(names)} of as many numbers"
            )
        if not (tensors["feature_deviation"] > 0).all():
            raise ModelError(f"the head {str(folder)!r}: feature_deviation must be above 0")
        features = Standardised(*(tensors[name] for name in names))
    return Head(tensors["weight"], tensors["bias"], str(config["trunk"]), features)
