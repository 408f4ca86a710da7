"""How a token classifier wants to be asked, as its own config.json records it: whoever loads it need not know.

Training writes it under the key `step_reward`, where transformers keeps it as the model is saved, pushed and loaded.

    recorded("path/to/prm")         # {"opening": "{bos}{question}\\n", "separator": "\\n", "positive": 1}; {}: nothing
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoflop.errors import ModelError

KEY = "step_reward"
NAMES = {"opening": str, "separator": str, "positive": int}


def recorded(path: str) -> Mapping[str, Any]:
    """What the folder or hub model records, empty where that is nothing. Raises ModelError for what makes no sense."""
    from isoflop.rewards.models import local_folder

    config = local_folder(path) / "config.json"
    found = _json(config).get(KEY, {})
    if not isinstance(found, dict) or any(
        not isinstance(found.get(name, kind()), kind) for name, kind in NAMES.items()
    ):
        raise ModelError(f"{config}: {KEY} must hold {', '.join(NAMES)}, not {found!r}")
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text())
    except OSError:
        return {}  # said, with what a checkpoint needs, when the model is loaded
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}
