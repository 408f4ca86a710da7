"""A model's shape from one text: a folder, a config.json, a hub id, or its numbers.

    shape_of("Qwen/Qwen2.5-0.5B-Instruct")
    shape_of("qwen2(hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2, "
             "intermediate_size=4864, vocab_size=151936, tie_word_embeddings=True)")

Numbers are the keys of a config.json under its `model_type`; those left out have the defaults of `transformers`.
"""

from __future__ import annotations

import ast

from isoflop.cost.shape import ModelShape, load_shape, shape_from_config
from isoflop.errors import ModelError


def shape_of(text: str) -> ModelShape:
    """See the module. Raises ModelError where it is none of these."""
    name, bracket, _ = text.partition("(")
    if not (bracket and name.isidentifier() and text.endswith(")")):
        return load_shape(text)
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError(text)
        config = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        raise ModelError(
            f"shape={text!r} is not of the form model_type(key=value, ...), such as qwen2(hidden_size=896, ...)"
        ) from None
    try:
        return shape_from_config({"dtype": "bfloat16", **config, "model_type": name})
    except ModelError as error:
        raise ModelError(f"shape={text!r}: {error}") from error
