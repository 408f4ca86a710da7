"""One writer per run folder: an operating-system lock that a killed process cannot leave behind.

with WriterLock(folder): ...        # StoreError, with the holder's process id, where another process is at work
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from isoflop.errors import StoreError

FILE = "isoflop.lock"


class WriterLock:
    """Held from construction until `release`; the file stays and says who held it last."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"{folder}: the run folder cannot be written ({error.strerror}); change its permissions or copy the run"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 200).decode(errors="replace").strip() or "another process"
            os.close(self._file)
            raise StoreError(
                f"{folder} is being written by {holder}; wait for it or end it, then run again (reading works now)"
            ) from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise StoreError(
                f"{path} cannot be written ({error.strerror}); free space and run again to go on"
            ) from None

    def release(self) -> None:
        """Let others write; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
