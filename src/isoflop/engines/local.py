"""The local engine's description: any causal language model of transformers, on this machine.

It says which model, in which numbers, with how much memory for keys and values; `open` loads it. The engine itself is
in `local_engine.py`. It is not a server: `remote.py` talks to those.

    engine = Local("path/to/model", memory_gb=2).open()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from isoflop.engines.base import EngineSpec
from isoflop.specs import require

if TYPE_CHECKING:
    from isoflop.engines.local_engine import LocalEngine


@dataclass(frozen=True)
class Local(EngineSpec):
    """`model`: a folder or hub id. `dtype` auto is the checkpoint's, `device` auto a GPU where there is one.

    `context_tokens` is the longest prompt and solution together (default 2048, or what the model can if that is less).
    `memory_gb` bounds keys and values: each sequence held takes a slot of `context_tokens`. At most `max_live`
    sequences are generated at once; `threads` is how many CPU threads torch may use (default: torch's own choice).
    `share_prompts`: a search goes on from the longest beginning of its prompt that another holds, such as the solved
    examples before every question; what it spends then depends on its neighbours, what it is charged does not.
    `readout` is the folder of a head that reads each step's hidden state; a reward that wants one names it itself.
    """

    spec_name: ClassVar[str] = "local"

    model: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    context_tokens: int | None = None
    memory_gb: float = 4.0
    max_live: int = 128
    threads: int | None = None
    readout: str | None = None
    share_prompts: bool = False

    def __post_init__(self) -> None:
        for name in ("context_tokens", "threads"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"local({name}={value}): at least 1, or left out")
        require(self.max_live >= 1, f"local(max_live={self.max_live}): at least 1 sequence")
        require(self.memory_gb > 0, f"local(memory_gb={self.memory_gb}): more than 0")

    def open(self) -> LocalEngine:
        """Load the model and set up its slots."""
        from isoflop.engines.local_open import open_local

        return open_local(self)
