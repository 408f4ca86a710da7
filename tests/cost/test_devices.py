"""Peaks are found for the names that drivers report, and never made up."""

from __future__ import annotations

import pytest

from isoflop.cost.devices import DEVICES, Device, find_device, roofline_seconds
from isoflop.errors import SpecError


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("h100", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA A100-SXM4-40GB", "A100 SXM 40 GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80 GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80 GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40 GB"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2"),
        ("Tesla T4", "T4"),
    ],
)
def test_a_driver_s_name_finds_its_peaks(reported: str, name: str) -> None:
    assert find_device(reported).name == name


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA H200 NVL",
        "NVIDIA L40",
        "NVIDIA GH200 480GB",
        "A100",
        "Intel(R) Xeon(R)",
        "",
    ],
)
def test_what_is_not_known_for_sure_stays_unknown(name: str) -> None:
    device = find_device(name)

    assert device == Device(name)
    assert roofline_seconds(1e15, 1e12, device) is None


def test_the_slower_of_multiplying_and_moving_bounds_the_time() -> None:
    device = Device("two cores", flops_per_second=1e11, bytes_per_second=2e10, source="measured")

    assert roofline_seconds(1e12, 1e9, device) == pytest.approx(10.0)
    assert roofline_seconds(1e9, 1e12, device) == pytest.approx(50.0)
    assert roofline_seconds(1e12, 1e9, Device("half known", flops_per_second=1e11)) is None


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_every_listed_peak_says_where_it_is_from_and_is_of_a_real_size(device: Device) -> None:
    assert device.source != "unknown"
    assert device.flops_per_second is not None
    assert device.bytes_per_second is not None
    assert 10e12 < device.flops_per_second < 3e15
    assert 100e9 < device.bytes_per_second < 10e12
    assert 50 < device.flops_per_second / device.bytes_per_second < 500  # FLOPs a byte; a slipped unit shows here


@pytest.mark.parametrize("peak", [0, -1.0, float("nan")])
def test_a_peak_that_is_none_is_refused(peak: float) -> None:
    with pytest.raises(SpecError, match="'broken': flops_per_second="):
        Device("broken", flops_per_second=peak)
