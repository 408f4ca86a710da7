"""Models that come with the package: `lab:NAME` stands wherever the folder of a model or of a head may stand.

    model_folder("lab:base")                # ".../isoflop/laboratory/weights/base"
    model_folder("runs/mine")               # "runs/mine"

It knows folders alone; how the models were made is in `recipes/laboratory/`.
"""

from __future__ import annotations

from pathlib import Path

from isoflop.errors import ModelError, did_you_mean

PREFIX = "lab:"
WEIGHTS = Path(__file__).parent / "laboratory" / "weights"


def model_folder(name: str) -> str:
    """The folder that `lab:NAME` means; any other name as it is. Raises ModelError for one that is not there."""
    if not name.startswith(PREFIX):
        return name
    wanted = name.removeprefix(PREFIX)
    if wanted not in embedded_names():
        known = [f"{PREFIX}{each}" for each in embedded_names()]
        raise ModelError(f"{name!r} does not come with the package{did_you_mean(name, known)}")
    return str(WEIGHTS / wanted)


def embedded_names() -> list[str]:
    """The models and heads that there are, such as `base` and `base/reward`."""
    return sorted(str(found.parent.relative_to(WEIGHTS)) for found in WEIGHTS.rglob("config.json"))
