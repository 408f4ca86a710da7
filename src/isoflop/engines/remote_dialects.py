"""How a server wants to be asked, and what it answers: what `remote_open.py` finds out and the engine goes by.

VLLM.body(request)         # the fields of its own beside OpenAI's
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

# A server's own defaults (a model's generation_config among them) would change what is sampled: each is switched off.
_VLLM = {
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "return_token_ids": True,
    "skip_special_tokens": False,
}
_LLAMA = {
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "samplers": ["temperature", "top_k", "top_p"],  # the order of the law; its own puts the temperature last
    "timings_per_token": True,  # the only place where a stream that is closed early tells its cached tokens
    "cache_prompt": True,
}
_SGLANG = {"min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False}


@dataclass(frozen=True, slots=True)
class Dialect:
    """`extras` go into every body. `all_tokens`: the `top_k` that means all of them (None: it takes none).

    `ids_in`: prompts go as token ids; `ids_out`: answers show token ids. `whole`: it stops at strings and still shows
    every token made, so that answers are taken whole; else they are streamed and cut here.
    """

    name: str
    extras: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    all_tokens: int | None = None
    ids_in: bool = False
    ids_out: bool = False
    whole: bool = False
    logprobs: bool = False
    continues: bool = True


VLLM = Dialect("vllm", MappingProxyType(_VLLM), all_tokens=0)
LLAMA = Dialect("llamacpp", MappingProxyType(_LLAMA), all_tokens=0)
SGLANG = Dialect("sglang", MappingProxyType(_SGLANG), all_tokens=-1)
PLAIN = Dialect("openai")
BY_OWNER = {dialect.name: dialect for dialect in (VLLM, LLAMA, SGLANG)}
