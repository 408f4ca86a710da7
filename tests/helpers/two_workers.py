"""Two processes that train together over gloo, as a launcher starts them.

workers = start_two("train_worker.py", "OUT", "LABELS")
finish(workers)
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS = 400


def start_two(script: Path, *told: object) -> list[subprocess.Popen[str]]:
    """Both run the same script with the same arguments; what a launcher tells them stands in the environment."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(script), *map(str, told)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def finish(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Both end well."""
    for worker in workers:
        _, told = worker.communicate(timeout=SECONDS)
        assert worker.returncode == 0, told


def end_badly(workers: Sequence[subprocess.Popen[str]]) -> None:
    """One was killed, and the other cannot go on alone."""
    for worker in workers:
        worker.communicate(timeout=SECONDS)
        assert worker.returncode != 0
