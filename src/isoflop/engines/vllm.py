"""The description of vLLM inside this process: for a GPU of one's own, without a server. Extra `vllm`.

    engine = Vllm("path/to/model").open()

Where vLLM runs as a server, `remote.py` talks to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from isoflop.engines.base import EngineSpec
from isoflop.specs import require

if TYPE_CHECKING:
    from isoflop.engines.vllm_engine import VllmEngine


@dataclass(frozen=True)
class Vllm(EngineSpec):
    """`model`, `dtype`, `context_tokens` and `max_live` as of `local`. `memory_share` of the GPU's memory is vLLM's.

    A model larger than one GPU is cut: each layer over `tensor_parallel` GPUs, all layers into `pipeline_parallel`
    parts.
    `eager` starts sooner and runs slower.
    """

    spec_name: ClassVar[str] = "vllm"

    model: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    context_tokens: int | None = None
    max_live: int = 256
    memory_share: float = 0.9
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    eager: bool = False

    def __post_init__(self) -> None:
        for name in ("max_live", "tensor_parallel", "pipeline_parallel"):
            require(getattr(self, name) >= 1, f"vllm({name}={getattr(self, name)}): at least 1")
        tokens = self.context_tokens
        require(tokens is None or tokens >= 2, f"vllm(context_tokens={tokens}): at least 2, or left out")
        require(0 < self.memory_share <= 1, f"vllm(memory_share={self.memory_share}): a share, above 0 and at most 1")

    def open(self) -> VllmEngine:
        """Load the model. Raises MissingExtraError where vLLM is not installed."""
        from isoflop.engines.vllm_engine import open_vllm

        return open_vllm(self)
