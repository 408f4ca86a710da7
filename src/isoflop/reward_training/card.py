"""The model card that lies beside a trained reward: what it is, what it was trained on, how well it tells steps apart.

(folder / "README.md").write_text(card(summary))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = ("seed", "AUC within", "AUC pooled", "logprob within", "problems", "steps")


def card(summary: Mapping[str, Any]) -> str:
    """Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *map(cells, summary["fits"])]
    reads = "only the model that it was trained on" if summary["method"] == "head" else "text, whoever wrote it"
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"# A step reward on `{summary['model']}`\n\n"
        f"Trained by `isoflop reward train --method {summary['method']}` on {summary['steps']} labelled steps of "
        f"{summary['solutions']} solutions (labels: {summary['kind']}; {summary['share_right']:.0%} right).\n"
        f"Use it as `{summary['use']}`.\n\n{table}\n\n"
        "AUCs are of problems held out, with 95 % intervals by problem. Training stopped by the same problems, so they "
        f"flatter a little: judge it on another problem set with `isoflop reward eval`. It reads {reads}, and its "
        "number is no probability before it is calibrated.\n"
    )


def cells(fit: Mapping[str, Any]) -> list[str]:
    """One seed, in the order of `COLUMNS`."""
    names = ("held_out_auc_within", "held_out_auc", "logprob_auc_within")
    shown = [_shown(fit, name) for name in names]
    return [str(fit["seed"]), *shown, str(len(fit["held_out"])), str(fit["held_out_steps"])]


def _shown(fit: Mapping[str, Any], name: str) -> str:
    if fit.get(name) is None:
        return "none"
    low, high = fit[f"{name}_interval"]
    return f"{fit[name]:.3f} [{low:.2f}, {high:.2f}]"
