"""The folder that training writes: what it was asked, so that a killed run goes on and nothing else is overwritten.

    claim(folder, settings)                          # StoreError where the folder holds something else
    write_json(folder / "summary.json", {...})
    problems_of("heads/first", "trained_on")          # ids of problems

`training.json` holds the settings; `summary.json` the result, with the problems trained on and held out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoflop.errors import StoreError, StudyError
from isoflop.reward_training.labels import LabelledSolution

SETTINGS, SUMMARY, CARD = "training.json", "summary.json", "README.md"


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder this training's own. Raises StoreError where it holds another's files or another training."""
    path = folder / SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            if any(folder.iterdir()):
                raise StoreError(f"{folder} holds other files and no {SETTINGS}; choose an empty folder for --out")
            write_json(path, settings)
        held = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{folder} cannot be used for --out: {error}") from error
    wanted = json.loads(json.dumps(settings))
    if held != wanted:
        names = sorted(held.keys() | wanted.keys())
        changed = [f"{name}={held.get(name)!r}, asked now: {wanted.get(name)!r}" for name in names]
        changed = [text for text, name in zip(changed, names, strict=True) if held.get(name) != wanted.get(name)]
        raise StoreError(f"{folder} holds another training ({'; '.join(changed)}); choose another folder for --out")


def labels_print(solutions: Sequence[LabelledSolution]) -> str:
    """Changes with any solution or label."""
    digest = hashlib.blake2b(digest_size=12)
    for solution in solutions:
        digest.update(repr(solution).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """As `write_text`."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """The file is whole or, if this is interrupted, the old one."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, path)


def problems_of(folder: str | Path, part: str) -> frozenset[str] | None:
    """Ids of the problems `trained_on` or `held_out`; None where the folder was not made by a training here."""
    path = Path(folder).expanduser() / SUMMARY
    if not path.is_file():
        return None
    try:
        return frozenset(json.loads(path.read_text())[part])
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path} is no summary of a training ({error!r})") from error
