"""Joules from the machine's own counters: GPUs through NVML, processors and their memory through RAPL; else None.

It reads energy counters, and never multiplies a rated power with time: where no counter can be read, the energy is
unknown. The counters belong to the machine, so they hold what other work drew at the same time.

    with EnergyMeter() as meter:
        work()
    meter.joules, meter.sources          # (1234.5, ('gpu 0', 'package-0')) or (None, ())

A RAPL counter wraps after a few hundred kilojoules (tens of minutes): ask for `joules` more often than that in between.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

POWERCAP = Path("/sys/class/powercap")


class _Counter:
    """One counter, summed over readings. `wraps_at` is the value after which it starts again at zero."""

    def __init__(self, name: str, read: Callable[[], int], joules_per_unit: float, wraps_at: int | None = None) -> None:
        self.name = name
        self._read = read
        self._joules_per_unit = joules_per_unit
        self._wraps_at = wraps_at
        self._last = read()
        self._units = 0

    def joules(self) -> float:
        """Joules since the counter was opened."""
        now = self._read()
        drawn = now - self._last
        if drawn < 0:
            if self._wraps_at is None:
                raise OSError(f"energy counter {self.name} ran backwards, from {self._last} to {now}")
            drawn += self._wraps_at
        self._units += drawn
        self._last = now
        return self._units * self._joules_per_unit


def _rapl_counters(powercap: Path) -> list[_Counter]:
    """Processor packages and their memory. Cores are part of their package, and 'psys' holds everything: both would
    be counted twice."""
    counters = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if not name.startswith(("package", "dram")):
                continue
            wraps_at = int((zone / "max_energy_range_uj").read_text())
            label = name if name.startswith("package") else f"{name} {zone.name.split(':')[1]}"
            counters.append(_Counter(label, _reader(zone / "energy_uj"), 1e-6, wraps_at))
        except (OSError, ValueError):  # readable for root alone on most machines
            continue
    return counters


def _reader(path: Path) -> Callable[[], int]:
    return lambda: int(path.read_text())


def _gpu_counters(nvml: Any) -> list[_Counter]:
    """GPUs with an energy counter (millijoules, Volta and later). None at all where the driver or pynvml is missing."""
    counters = []
    try:
        nvml.nvmlInit()
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            counters.append(_Counter(f"gpu {index}", _gpu_reader(nvml, handle), 1e-3))
    except nvml.NVMLError:
        return []
    return counters


def _gpu_reader(nvml: Any, handle: Any) -> Callable[[], int]:
    return lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))


def _pynvml() -> Any | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


class EnergyMeter:
    """Measures from `with` to its end. `sources` names the counters that `joules` adds up."""

    def __init__(self, powercap: Path = POWERCAP, nvml: Any | None = None) -> None:
        self._powercap = powercap
        self._nvml = nvml if nvml is not None else _pynvml()
        self._counters: list[_Counter] = []
        self._stopped_at: float | None = None
        self._running = False

    def __enter__(self) -> EnergyMeter:
        gpus = _gpu_counters(self._nvml) if self._nvml is not None else []
        self._counters = [*gpus, *_rapl_counters(self._powercap)]
        self._running = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped_at = self._read()
        self._running = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the counters that are read, GPUs first."""
        return tuple(counter.name for counter in self._counters)

    @property
    def joules(self) -> float | None:
        """Joules so far, or of the whole block once it ended; None where no counter can be read."""
        return self._read() if self._running else self._stopped_at

    def _read(self) -> float | None:
        if not self._counters:
            return None
        try:
            return sum(counter.joules() for counter in self._counters)
        except (OSError, ValueError):  # a counter that went away: the sum is unknown from here on
            self._counters = []
            return None
