"""An engine that takes its process down, or fails: when it is opened, or when it is polled.

Arm(engine=Dying("poll"), strategy="greedy()")
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

from isoflop.engines.base import EngineSpec
from isoflop.engines.scripted import Scripted, ScriptedEngine
from isoflop.errors import ModelError


@dataclass(frozen=True)
class Dying(EngineSpec):
    """`when`: "open" (exit code 3), "poll" (killed, as for its memory), "refuse" (an error of ours) or "raise" (one
    that nobody foresaw)."""

    spec_name: ClassVar[str] = "dying"

    when: str

    def open(self):
        """The engine, or the end."""
        if self.when == "open":
            os._exit(3)
        if self.when == "refuse":
            raise ModelError("'nowhere' is no model")
        return _Engine(Scripted(), self.when)


class _Engine(ScriptedEngine):
    def __init__(self, spec, when):
        super().__init__(spec)
        self._when = when

    def poll(self):
        if self._when == "raise":
            raise RuntimeError("on purpose")
        os.kill(os.getpid(), signal.SIGKILL)
