"""The integers that a cost formula needs, read from a model's config.json: no weights, no torch.

A `ModelShape` says how large every matrix of a decoder is, layer by layer, how far each layer attends, and how many
bytes a parameter takes. It is not a model, and it knows nothing of other parts a checkpoint may carry (a vision tower,
say): it counts the text decoder. `families.py` holds what each `model_type` means by its keys.

    shape = load_shape("path/to/model")          # a folder, a config.json, or a hub id
    shape.parameters, shape.active_parameters, shape.kv_bytes_per_token
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isoflop.cost.families import FAMILIES, Family, Read
from isoflop.cost.known import CONFIGS
from isoflop.embedded import model_folder
from isoflop.errors import ModelError, did_you_mean

BYTES_PER_PARAMETER: dict[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class DenseFeedForward:
    """The feed-forward matrices of a layer that all tokens go through: up and down, and a gate where there is one."""

    width: int
    gated: bool = True
    bias: bool = False

    @property
    def matrices(self) -> int:
        """Matrices of hidden size times width."""
        return 3 if self.gated else 2

    def weights_per_token(self, hidden_size: int) -> int:
        """Matrix entries that each token is multiplied with."""
        return self.matrices * hidden_size * self.width

    def parameters(self, hidden_size: int) -> int:
        """All parameters, biases included."""
        biases = (self.matrices - 1) * self.width + hidden_size if self.bias else 0
        return self.weights_per_token(hidden_size) + biases

    def parameters_read(self, hidden_size: int, tokens: int) -> int:
        """Parameters that a forward of `tokens` tokens reads."""
        return self.parameters(hidden_size) if tokens else 0


@dataclass(frozen=True, slots=True)
class ExpertFeedForward:
    """A layer whose router sends each token to `active_experts` of `experts`; a shared expert, where there is one,
    sees every token and is weighed by a gate of its own. All experts are gated."""

    experts: int
    active_experts: int
    width: int
    shared_width: int = 0

    def _expert(self, hidden_size: int) -> int:
        return 3 * hidden_size * self.width

    def _always_read(self, hidden_size: int) -> int:
        shared_gate = hidden_size if self.shared_width else 0
        return hidden_size * self.experts + 3 * hidden_size * self.shared_width + shared_gate

    def weights_per_token(self, hidden_size: int) -> int:
        """Matrix entries that each token is multiplied with: router, active experts, shared expert and its gate."""
        return self._always_read(hidden_size) + self.active_experts * self._expert(hidden_size)

    def parameters(self, hidden_size: int) -> int:
        """All parameters."""
        return self._always_read(hidden_size) + self.experts * self._expert(hidden_size)

    def parameters_read(self, hidden_size: int, tokens: int) -> int:
        """Parameters that a forward of `tokens` tokens reads, were they all sent to different experts: the most."""
        hit = min(self.experts, tokens * self.active_experts)
        return self._always_read(hidden_size) + hit * self._expert(hidden_size) if tokens else 0


FeedForward = DenseFeedForward | ExpertFeedForward


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder in integers. `windows` holds, for each layer, how many keys a token sees at most (itself included),
    or None where it sees all. Norms are counted in parameters, so that weight bytes are exact."""

    model_type: str
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forwards: tuple[FeedForward, ...]
    windows: tuple[int | None, ...]
    vocab_size: int
    tied_embeddings: bool
    max_positions: int
    bytes_per_parameter: int
    query_key_value_bias: bool = False
    output_bias: bool = False
    learned_positions: bool = False
    norm_parameters_per_layer: int = 0
    final_norm_parameters: int = 0

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.feed_forwards)

    @property
    def query_width(self) -> int:
        """Width of all query heads together; the output matrix maps it back to the hidden size."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; values are as wide."""
        return self.kv_heads * self.head_dim

    @property
    def attention_weights_per_layer(self) -> int:
        """Matrix entries of the query, key, value and output projections of one layer."""
        return 2 * self.hidden_size * (self.query_width + self.kv_width)

    @property
    def attention_parameters_per_layer(self) -> int:
        """The projections with their biases."""
        bias = (self.query_width + 2 * self.kv_width) * self.query_key_value_bias + self.hidden_size * self.output_bias
        return self.attention_weights_per_layer + bias

    @property
    def embedding_parameters(self) -> int:
        """The look-up tables: tokens, and positions where they are learned. An untied LM head is not among them."""
        return (self.vocab_size + self.max_positions * self.learned_positions) * self.hidden_size

    @property
    def head_parameters(self) -> int:
        """Entries of the LM head, whether or not they are also the embeddings."""
        return self.vocab_size * self.hidden_size

    @property
    def _parameters_outside_feed_forwards(self) -> int:
        per_layer = self.attention_parameters_per_layer + self.norm_parameters_per_layer
        head = 0 if self.tied_embeddings else self.head_parameters
        return self.embedding_parameters + head + self.layers * per_layer + self.final_norm_parameters

    @property
    def parameters(self) -> int:
        """All parameters, each once: what `sum(p.numel() for p in model.parameters())` says."""
        return self._parameters_outside_feed_forwards + sum(f.parameters(self.hidden_size) for f in self.feed_forwards)

    @property
    def active_parameters(self) -> int:
        """All parameters but the experts that a token is not sent to."""
        read = sum(f.parameters_read(self.hidden_size, 1) for f in self.feed_forwards)
        return self._parameters_outside_feed_forwards + read

    @property
    def weight_bytes(self) -> int:
        """Memory that the weights take."""
        return self.parameters * self.bytes_per_parameter

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory that one token's keys and values take in all layers, in the weights' own type."""
        return 2 * self.layers * self.kv_width * self.bytes_per_parameter

    def in_dtype(self, dtype: str) -> ModelShape:
        """The same shape, run in another type than its config says (`"bfloat16"`, `"float32"`, ..)."""
        return replace(self, bytes_per_parameter=_bytes_of(dtype))


def _bytes_of(dtype: object) -> int:
    name = str(dtype).removeprefix("torch.")
    if name not in BYTES_PER_PARAMETER:
        raise ModelError(f"dtype {name!r} has no known size{did_you_mean(name, BYTES_PER_PARAMETER)}")
    return BYTES_PER_PARAMETER[name]


def shape_from_config(config: Mapping[str, Any]) -> ModelShape:
    """Read the shape out of a config.json's content (or `model.config.to_dict()`); a nested `text_config` is followed.

    Missing keys have the defaults of the config classes of `transformers`; a missing dtype is float32, torch's own.
    """
    if config.get("quantization_config"):
        raise ModelError(
            "the config has a quantization_config: its weights are not of one size, so their bytes cannot be counted; "
            "give the config of the model it was made from"
        )
    model_type = config.get("model_type")
    if "text_config" in config:
        outer, config = config, {"dtype": config.get("dtype", config.get("torch_dtype")), **config["text_config"]}
        if "tie_word_embeddings" in outer:
            config["tie_word_embeddings"] = outer["tie_word_embeddings"]
    if model_type not in FAMILIES:
        raise ModelError(f"model_type {model_type!r} has no cost formula{did_you_mean(str(model_type), FAMILIES)}")
    family = FAMILIES[str(model_type)]
    return _Reader(config, family).shape(str(model_type))


class _Reader:
    """Reads one config by its family's rules, and says which key is wrong where one is."""

    def __init__(self, config: Mapping[str, Any], family: Family) -> None:
        self.config = config
        self.family = family

    def value(self, key: str) -> Any:
        """The config's value, under the family's own name of the key or under the usual one; else the default."""
        own = self.family.names.get(key, key)
        for name in (own, key):
            if name in self.config:
                return self.config[name]
        defaults = self.family.defaults
        return defaults[own] if own in defaults else defaults.get(key)

    def count(self, key: str, otherwise: int | None = None) -> int:
        """A positive whole number; `otherwise` stands in where the config says null."""
        value = self.value(key)
        if value is None and otherwise is not None:
            return otherwise
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(f"config key {key!r} is {value!r}; a positive whole number is needed")
        return value

    def flag(self, rule: bool | str) -> bool:
        """A fixed answer of the family, or the config's under that key."""
        return rule if isinstance(rule, bool) else bool(self.value(rule))

    def shape(self, model_type: str) -> ModelShape:
        """Everything together."""
        family = self.family
        hidden_size, heads = self.count("hidden_size"), self.count("num_attention_heads")
        kv_heads = self.count("num_key_value_heads", otherwise=heads)
        if heads % kv_heads:
            raise ModelError(
                f"num_attention_heads={heads} is not a multiple of num_key_value_heads={kv_heads}: "
                "query heads share key heads in equal groups"
            )
        head_dim = self.count("head_dim", otherwise=hidden_size // heads)
        layers = self.count("num_hidden_layers")
        return ModelShape(
            model_type=model_type,
            hidden_size=hidden_size,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            feed_forwards=tuple(self.feed_forward(layer, hidden_size) for layer in range(layers)),
            windows=self.windows(layers),
            vocab_size=self.count("vocab_size"),
            tied_embeddings=self.flag("tie_word_embeddings"),
            max_positions=self.count("max_position_embeddings"),
            bytes_per_parameter=_bytes_of(self.config.get("dtype") or self.config.get("torch_dtype") or "float32"),
            query_key_value_bias=self.flag(family.query_key_value_bias),
            output_bias=self.flag(family.output_bias),
            learned_positions=family.learned_positions,
            norm_parameters_per_layer=family.norms_per_layer * hidden_size
            + {"none": 0, "head": 2 * head_dim, "all heads": (heads + kv_heads) * head_dim}[family.query_key_norm],
            final_norm_parameters=family.final_norms * hidden_size,
        )

    def feed_forward(self, layer: int, hidden_size: int) -> FeedForward:
        """The matrices of one layer: dense, or experts where the family's rule says so."""
        family = self.family
        if not family.sparse(layer, self.value):
            width = self.count("intermediate_size", otherwise=4 * hidden_size)
            return DenseFeedForward(width, family.gated, self.flag(family.feed_forward_bias))
        experts, active = self.count("num_experts"), self.count("num_experts_per_tok")
        if active > experts:
            raise ModelError(f"num_experts_per_tok={active} is more than the {experts} experts there are")
        shared_width = self.count("shared_expert_intermediate_size") if family.shared_expert else 0
        return ExpertFeedForward(experts, active, self.count(family.expert_width), shared_width)

    def windows(self, layers: int) -> tuple[int | None, ...]:
        """How far each layer sees. A window of null or 0, or one that is switched off, is none."""
        read: Read = self.value
        switched_off = "use_sliding_window" in self.family.defaults and not read("use_sliding_window")
        window = None if switched_off or not read("sliding_window") else self.count("sliding_window")
        listed = self.config.get("layer_types") if self.family.reads_layer_types else None
        if listed is None:
            return tuple(window if self.family.slides(layer, read) else None for layer in range(layers))
        unknown = set(listed) - {"full_attention", "sliding_attention"}
        if unknown or len(listed) != layers:
            wrong = f"names {sorted(unknown)}" if unknown else f"has {len(listed)} entries for {layers} layers"
            raise ModelError(
                f"config key 'layer_types' {wrong}; allowed: full_attention, sliding_attention, one a layer"
            )
        return tuple(window if kind == "sliding_attention" else None for kind in listed)


def load_shape(model: str | Path) -> ModelShape:
    """The shape of a model folder, a config.json, or a hub id, whose config alone is fetched, or found cached (of a few
    models the numbers are known without: `known.py`)."""
    path = Path(model_folder(str(model)))
    if path.is_dir():
        path = path / "config.json"
        if not path.is_file():
            raise ModelError(f"{str(model)!r} is a folder without a config.json; give a folder that holds a model")
    elif not path.is_file():
        try:
            path = _config_from_hub(str(model))
        except ModelError:
            if str(model) not in CONFIGS:
                raise
            return shape_from_config(CONFIGS[str(model)])
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} holds a JSON {type(config).__name__}; a model's config is an object")
    try:
        return shape_from_config(config)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _config_from_hub(model: str) -> Path:
    from huggingface_hub import hf_hub_download  # only where a hub id is given: it takes a third of a second to load

    try:
        return Path(hf_hub_download(model, "config.json"))
    except (
        ValueError,
        OSError,
    ) as error:  # a malformed id is a ValueError; not cached, not there, no network: OSErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{model!r} is neither a folder, nor a config.json, nor a model of the hub that can be had from here "
            f"({type(error).__name__}: {reason}); check the path, or download the model first"
        ) from error
