"""Energy is read from counters (here files and a small stand-in for NVML with the same calls), or unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoflop.cost.energy import EnergyMeter


class NoDriverError(Exception):
    """What pynvml raises for everything."""


class Gpus:
    """GPUs whose counters the test turns, with the calls of pynvml that a meter needs."""

    NVMLError = NoDriverError

    def __init__(self, *millijoules: int, driver: bool = True) -> None:
        self.millijoules = list(millijoules)
        self.driver = driver

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NoDriverError("no driver")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self.millijoules[handle]


NO_GPU = Gpus(driver=False)


def zone(powercap: Path, folder: str, name: str, microjoules: int, wraps_at: int = 1_000_000_000) -> Path:
    path = powercap / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path / "energy_uj"


def test_packages_and_their_memory_count_once_and_nothing_inside_them(tmp_path: Path) -> None:
    counters = [
        zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        zone(tmp_path, "intel-rapl:0:0", "core", 5),
        zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000),
        zone(tmp_path, "intel-rapl:1", "package-1", 3_000_000),
        zone(tmp_path, "intel-rapl:2", "psys", 5),
    ]
    with EnergyMeter(tmp_path, NO_GPU) as meter:
        for counter in counters:
            counter.write_text(str(int(counter.read_text()) + 500_000))

    assert meter.sources == ("package-0", "dram 0", "package-1")
    assert meter.joules == pytest.approx(1.5)


def test_a_counter_that_wraps_is_read_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 900_000_000, wraps_at=1_000_000_000)
    with EnergyMeter(tmp_path, NO_GPU) as meter:
        counter.write_text("50000000")
        assert meter.joules == pytest.approx(150.0)
        counter.write_text("999000000")
        assert meter.joules == pytest.approx(1099.0)
        counter.write_text("1000000")  # the second wrap is seen only because it was read in between

    assert meter.joules == pytest.approx(1101.0)


def test_joules_stand_still_after_the_block(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    with EnergyMeter(tmp_path, NO_GPU) as meter:
        counter.write_text("2000000")
    counter.write_text("9000000")

    assert meter.joules == pytest.approx(2.0)


def test_gpus_and_processors_add(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    gpus = Gpus(10_000, 20_000)
    with EnergyMeter(tmp_path, gpus) as meter:
        counter.write_text("1000000")
        gpus.millijoules = [13_000, 24_000]

    assert meter.sources == ("gpu 0", "gpu 1", "package-0")
    assert meter.joules == pytest.approx(8.0)


def test_without_a_readable_counter_energy_is_unknown_not_zero(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0).unlink()
    zone(tmp_path, "intel-rapl:1", "package-1", 0).write_text("not a number")
    with EnergyMeter(tmp_path, NO_GPU) as meter:
        pass

    assert (meter.joules, meter.sources) == (None, ())
    with EnergyMeter(tmp_path / "nowhere", NO_GPU) as meter:
        assert meter.joules is None


def test_a_counter_that_goes_away_leaves_the_sum_unknown(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    zone(tmp_path, "intel-rapl:1", "package-1", 0)
    with EnergyMeter(tmp_path, NO_GPU) as meter:
        counter.unlink()

    assert meter.joules is None


def test_a_gpu_counter_that_runs_backwards_is_not_believed(tmp_path: Path) -> None:
    gpus = Gpus(10_000)
    with EnergyMeter(tmp_path, gpus) as meter:
        gpus.millijoules = [4_000]  # the driver was loaded again

    assert meter.joules is None


def test_on_this_machine_a_meter_works_or_says_that_it_cannot() -> None:
    with EnergyMeter() as meter:
        sum(range(100_000))

    assert (meter.joules is None) == (meter.sources == ())
    assert meter.joules is None or meter.joules >= 0
