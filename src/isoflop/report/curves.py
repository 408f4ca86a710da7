"""Curves of a run of training thoughts, from its log: likelihoods, reward, mixing weight, entropy, gradients.

    draw_curves("runs/thoughts", smooth=10)            # writes runs/thoughts/curves.png and curves.svg

Faint lines are single steps, strong ones a running mean over the steps before. Where a step has no such number (no
thought was drawn, say) there is none. Needs the extra `report`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoflop.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from isoflop.stats.arms import Floats

FORMATS = ("png", "svg")
# title -> (name in the log, what the curve is called)
PANELS: Mapping[str, Mapping[str, str]] = {
    "Nats a token, after places to think": {"nats_without": "without a thought", "nats_with": "with a thought"},
    "Nats saved by a thought": {"reward": "all tokens after it"},
    "Mixing weight": {"weight": "mean"},
    "Nats a thought's token (entropy)": {"thought_nats": "-log p, mean"},
    "Gate: share of places": {"gate_paid": "thought paid", "gate_open": "gate open", "gate_right": "gate right"},
}
GRADIENTS, GRADIENT = "Gradient norms, before clipping", "gradient_norm_"


def draw_curves(run: str | Path, smooth: int = 10) -> list[Path]:
    """The files. Raises StoreError for a folder without a log, MissingExtraError without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("curves need matplotlib: pip install 'isoflop[report]'") from None
    from isoflop.report.style import SETTINGS

    folder = Path(run)
    log = _read(folder)
    panels = _panels(log)
    with rc_context({**SETTINGS, "svg.hashsalt": "isoflop"}):
        figure = Figure(figsize=(4.1 * min(3, len(panels)), 2.9 * -(-len(panels) // 3)), layout="constrained")
        axes = figure.subplots(-(-len(panels) // 3), min(3, len(panels)), squeeze=False).flatten()
        for place, (title, curves) in zip(axes, panels.items(), strict=False):
            _draw(place, title, log["step"], {label: log[name] for name, label in curves.items()}, smooth)
        for empty in axes[len(panels) :]:
            empty.set_axis_off()
        files = [folder / f"curves.{form}" for form in FORMATS]
        for file in files:
            figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def _read(folder: Path) -> dict[str, Floats]:
    """Each number of the log by step, NaN where a step has none."""
    path = folder / "log.jsonl"
    if not path.is_file():
        raise StoreError(f"{folder} has no log.jsonl; give the folder (--out) of a run of quietstar train")
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not lines:
        raise StoreError(f"{path} holds no step yet; draw after the first one")
    names = sorted({name for line in lines for name in line})
    return {name: np.array([np.nan if (v := line.get(name)) is None else v for line in lines], float) for name in names}


def _panels(log: Mapping[str, Floats]) -> dict[str, dict[str, str]]:
    gradients = {name: name.removeprefix(GRADIENT) for name in log if name.startswith(GRADIENT)}
    wanted = {**PANELS, GRADIENTS: gradients}
    found = {title: {name: label for name, label in curves.items() if name in log} for title, curves in wanted.items()}
    return {title: curves for title, curves in found.items() if any(np.isfinite(log[name]).any() for name in curves)}


def _draw(axes: Axes, title: str, steps: Floats, curves: Mapping[str, Floats], smooth: int) -> None:
    for number, (label, values) in enumerate(curves.items()):
        axes.plot(steps, values, color=f"C{number}", alpha=0.25, linewidth=0.6)
        axes.plot(steps, running_mean(values, smooth), color=f"C{number}", linewidth=1.3, label=label)
    axes.set_title(title)
    axes.set_xlabel("step")
    if title == GRADIENTS and any((values > 0).any() for values in curves.values()):
        axes.set_yscale("log")
    if len(curves) > 1:
        axes.legend(fontsize=7, frameon=False)


def running_mean(values: Sequence[float] | Floats, count: int) -> Floats:
    """The mean of the last `count` numbers up to each, of as many as there are."""
    array = np.asarray(values, float)
    rows = [array[max(0, end - count) : end] for end in range(1, len(array) + 1)]
    return np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in rows])
