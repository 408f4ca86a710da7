"""Put the models of one training seed into the package: what a user needs, and nothing of how they were trained.

    python recipes/laboratory/ship.py runs/laboratory/seed-0

The model cards (README.md) are written by hand and stay.
"""

import json
import shutil
import sys
from pathlib import Path

WEIGHTS = Path(__file__).parents[2] / "src" / "isoflop" / "laboratory" / "weights"
MODEL = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
FILES = {
    "base": MODEL,
    "thoughts": (*MODEL, "thoughts.json", "thoughts.safetensors"),
    "base-reward": ("config.json", "model.safetensors"),
    "thoughts-reward": ("config.json", "model.safetensors"),
}


def main(seed: str) -> None:
    """Copy; a head's trunk is the embedded model."""
    for name, files in FILES.items():
        for file in files:
            shutil.copyfile(Path(seed) / name / file, WEIGHTS / name / file)
    for name in ("base", "thoughts"):
        config = WEIGHTS / f"{name}-reward" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"trunk": f"lab:{name}"}, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
