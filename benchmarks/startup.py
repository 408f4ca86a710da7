"""How long `import isoflop` and `isoflop --help` take, as whole processes.

python benchmarks/startup.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import isoflop": [sys.executable, "-c", "import isoflop"],
    "isoflop --help": [str(Path(sys.executable).with_name("isoflop")), "--help"],
}


def main() -> None:
    """Print the median, lowest and highest wall seconds of each command, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    for name, found in seconds.items():
        warm = found[1:]
        print(f"{name:16s} {statistics.median(warm):.3f} s   (lowest {min(warm):.3f}, highest {max(warm):.3f})")


if __name__ == "__main__":
    main()
