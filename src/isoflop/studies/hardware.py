"""What a session ran on, in one line: processor, cores, memory, and the accelerator where torch is loaded and sees one.

describe_hardware()      # "AMD EPYC 7B13, 2 cores, 15 GiB"
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path


def describe_hardware() -> str:
    """Never fails: what cannot be found out is left out."""
    parts = [_processor(), f"{cores()} cores"]
    with suppress(ValueError, OSError, AttributeError):
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    # Not imported for this: a run without torch has no accelerator to describe.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Of what may change a result; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in ("isoflop", "torch", "transformers", "tokenizers", "numpy", "math-verify"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
