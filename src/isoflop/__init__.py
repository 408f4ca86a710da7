"""isoflop: the instrument for compute-optimal LLM problem solving.

    run = isoflop.compare(model="DIR", problems="gsm8k(path='test.jsonl')", strategies=["greedy()", "rebase(width=8)"])

Names are resolved when first used, so that importing the package loads neither torch nor a plotting library.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Arm": "isoflop.studies.spec",
    "Attempt": "isoflop.core",
    "Budget": "isoflop.cost.ledger",
    "Problem": "isoflop.core",
    "Record": "isoflop.studies.record",
    "Run": "isoflop.api",
    "Study": "isoflop.studies.spec",
    "compare": "isoflop.api",
    "load_study": "isoflop.studies.study_file",
    "solve": "isoflop.api",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'isoflop' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]
