"""Published peaks of devices, and the least time that work can take on them; what is not published stays unknown.

A peak is a bound, not a prediction: no run reaches it, and one that claims to have passed it is wrong. It is not a
benchmark: where a device is not listed, or is a CPU, measure it and build a `Device` from what was measured.

    roofline_seconds(flops=1e15, bytes_moved=1e12, device=find_device("NVIDIA H100 80GB HBM3"))     # 1.01
    Device("two cores", flops_per_second=1.1e11, bytes_per_second=2.0e10, source="measured")

Williams, Waterman, Patterson 2009, "Roofline".
"""

from __future__ import annotations

from dataclasses import dataclass

from isoflop.errors import SpecError


@dataclass(frozen=True, slots=True)
class Device:
    """Peaks of one device: dense FLOP/s of 16-bit matrix products that add in 32 bit, bytes/s of its memory. None is
    unknown. `source` says where they come from."""

    name: str
    flops_per_second: float | None = None
    bytes_per_second: float | None = None
    source: str = "unknown"

    def __post_init__(self) -> None:
        for peak in ("flops_per_second", "bytes_per_second"):
            value = getattr(self, peak)
            if value is not None and not value > 0:
                raise SpecError(f"device {self.name!r}: {peak}={value!r} is no peak; give a positive number or None")


# Vendors' data sheets, dense: where a sheet prints the figure with 2:4 sparsity, half of it. V100 and T4 have no
# bfloat16 units; theirs is float16. Keys are the words that tell a device from its sisters.
DEVICES: dict[str, Device] = {
    "h100": Device("H100 SXM", 989.4e12, 3.35e12, "NVIDIA H100 data sheet, SXM: 1,979 TFLOPS sparse, 3.35 TB/s"),
    "h100 pcie": Device("H100 PCIe", 756e12, 2.0e12, "NVIDIA H100 PCIe product brief: 1,513 TFLOPS sparse, 2 TB/s"),
    "h100 nvl": Device("H100 NVL", 835e12, 3.9e12, "NVIDIA H100 data sheet, NVL: 1,671 TFLOPS sparse, 3.9 TB/s"),
    "h200": Device("H200 SXM", 989.4e12, 4.8e12, "NVIDIA H200 data sheet, SXM: 1,979 TFLOPS sparse, 4.8 TB/s"),
    "a100 sxm4 40gb": Device("A100 SXM 40 GB", 312e12, 1.555e12, "NVIDIA A100 data sheet (2020)"),
    "a100 pcie 40gb": Device("A100 PCIe 40 GB", 312e12, 1.555e12, "NVIDIA A100 data sheet (2020)"),
    "a100 sxm4 80gb": Device("A100 SXM 80 GB", 312e12, 2.039e12, "NVIDIA A100 80 GB data sheet (2021)"),
    "a100 80gb pcie": Device("A100 PCIe 80 GB", 312e12, 1.935e12, "NVIDIA A100 80 GB data sheet (2021)"),
    "a10": Device("A10", 125e12, 600e9, "NVIDIA A10 data sheet"),
    "a10g": Device("A10G", 70e12, 600e9, "NVIDIA A10G data sheet of AWS: 140 TFLOPS sparse"),
    "l4": Device("L4", 121e12, 300e9, "NVIDIA L4 data sheet: 242 TFLOPS sparse"),
    "l40s": Device("L40S", 362.05e12, 864e9, "NVIDIA L40S data sheet"),
    "rtx 4090": Device("RTX 4090", 165.2e12, 1.008e12, "NVIDIA Ada white paper: bfloat16 adding in float32"),
    "rtx 3090": Device("RTX 3090", 71e12, 936e9, "NVIDIA GA102 white paper: bfloat16 adding in float32"),
    "mi300x": Device("MI300X", 1307.4e12, 5.3e12, "AMD Instinct MI300X data sheet"),
    "v100 sxm2": Device("V100 SXM2", 125e12, 900e9, "NVIDIA V100 data sheet, float16"),
    "v100 pcie": Device("V100 PCIe", 112e12, 900e9, "NVIDIA V100 data sheet, float16"),
    "t4": Device("T4", 65e12, 320e9, "NVIDIA T4 product brief, float16"),
}


# Words of a driver's device name that say nothing about its peaks. Any other word ('MIG', 'Laptop', 'NVL') may.
_SILENT_WORDS = frozenset(
    {"nvidia", "amd", "tesla", "geforce", "instinct", "gpu", "oam", "hbm2", "hbm3", "hbm3e"}
    | {"16gb", "24gb", "32gb", "80gb"}
)


def find_device(name: str) -> Device:
    """The device of that name, however its driver or its owner spells it; one without peaks where it is not known.

    'NVIDIA H100 80GB HBM3' and 'h100' are the H100 SXM, 'NVIDIA H100 PCIe' another, and 'NVIDIA H100 MIG 1g.10gb' a
    slice of unknown peaks.
    """
    words = frozenset(name.lower().replace("-", " ").replace("_", " ").split())
    for key, device in DEVICES.items():
        told = frozenset(key.split())
        if told <= words and words - told <= _SILENT_WORDS:
            return device
    return Device(name)


def roofline_seconds(flops: float, bytes_moved: float, device: Device) -> float | None:
    """The least time this work can take: the slower of multiplying and moving, overlapped. None where unknown."""
    if device.flops_per_second is None or device.bytes_per_second is None:
        return None
    return max(flops / device.flops_per_second, bytes_moved / device.bytes_per_second)
