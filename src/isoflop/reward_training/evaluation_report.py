"""What `isoflop reward eval` shows: one table, one JSON document, one figure.

COLUMNS, rows(evaluation)
figures(evaluation).save("out")          # rewards.png and .svg; needs the extra `report`
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from isoflop.errors import MissingExtraError
from isoflop.report.figure import NEEDED, Figures
from isoflop.reward_training.evaluate import Evaluation
from isoflop.reward_training.judging import Gain, Judgement
from isoflop.stats.discrimination import Auc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "reward",
    "AUC within",
    "AUC pooled",
    "error F1",
    "ECE",
    "Platt",
    "best gains",
    "weighted gains",
)


def rows(evaluation: Evaluation) -> list[list[str]]:
    """A row a reward, in the order of `COLUMNS`; "none" where a measure does not exist."""
    return [
        [
            one.reward,
            _area(one.within),
            _area(one.pooled),
            "none" if one.first_error is None else f"{one.first_error.f1:.2f}",
            f"{one.calibration_error:.3f}",
            "none" if one.calibration_error_after is None else f"{one.calibration_error_after:.3f}",
            *(_gain(one.gain(measure)) for measure in ("best@k", "weighted@k")),
        ]
        for one in evaluation.judgements
    ]


def summary_lines(evaluation: Evaluation) -> list[str]:
    """What the numbers are of."""
    lines = [
        f"{evaluation.solutions} solutions of {evaluation.problems} problems, {evaluation.kind} labels; 95 % intervals"
    ]
    if evaluation.judgements:
        one = evaluation.judgements[0]
        at = {name: one.curve(name).accuracy for name in ("maj@k", "pass@k")}
        lines.append(
            f"choosing among {len(at['maj@k'])} samples: one alone {at['maj@k'][0]:.1%}, their majority "
            f"{at['maj@k'][-1]:.1%}, an oracle {at['pass@k'][-1]:.1%}; gains are in points over the majority"
        )
    return lines


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """All of it as plain values."""
    return {
        "source": evaluation.source,
        "kind": evaluation.kind,
        "solutions": evaluation.solutions,
        "problems": evaluation.problems,
        "rewards": [_judgement(one) for one in evaluation.judgements],
        "files": [str(file) for file in evaluation.files],
        "notes": list(evaluation.notes),
    }


def figures(evaluation: Evaluation) -> Figures:
    """Accuracy by k of the best sample and of the weighted vote, and each reward's reliability.

    That is bins of its numbers against the share of steps that is right.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(NEEDED) from None
    from isoflop.report.style import SETTINGS

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        best, weighted, meaning = figure.subplots(1, 3)
        _choosing(best, evaluation, "best@k", "Best of k samples, by the last step")
        _choosing(weighted, evaluation, "weighted@k", "Weighted vote of k samples")
        _meaning(meaning, evaluation)
        weighted.sharey(best)
        shown = {
            name: line for axes in (best, meaning) for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3, fontsize=7)
    return Figures({"rewards": figure})


def _choosing(axes: Axes, evaluation: Evaluation, measure: str, title: str) -> None:
    from isoflop.report.style import GREY, look

    axes.set(title=title, xlabel="k", ylabel="accuracy (%)")
    first = evaluation.judgements[0]
    for bound, name, line in (("pass@k", "oracle", ":"), ("maj@k", "majority", "--")):
        curve = first.curve(bound)
        axes.plot(curve.k, 100 * curve.accuracy, line, color=GREY, label=name)
    for place, one in enumerate(evaluation.judgements):
        curve, own = one.curve(measure), look(place)
        axes.plot(curve.k, 100 * curve.accuracy, color=own.colour, marker=own.marker, ms=3.5, label=one.reward)


def _meaning(axes: Axes, evaluation: Evaluation) -> None:
    from isoflop.report.style import GREY, look

    axes.set(title="Is it a probability?", xlabel="reward", ylabel="share of steps that is right")
    axes.plot([0, 1], [0, 1], "-.", color=GREY, label="calibrated")
    for place, one in enumerate(evaluation.judgements):
        own, table = look(place), one.bins
        x, y = [row.predicted for row in table], [row.observed for row in table]
        axes.plot(x, y, color=own.colour, marker=own.marker, ms=3.5, label=one.reward)


def _judgement(one: Judgement) -> dict[str, Any]:
    return {
        "reward": one.reward,
        "auc_within": None if one.within is None else asdict(one.within),
        "auc_pooled": None if one.pooled is None else asdict(one.pooled),
        "first_error": None if one.first_error is None else asdict(one.first_error),
        "calibration_error": one.calibration_error,
        "calibration_error_after": one.calibration_error_after,
        "platt": None if one.platt is None else asdict(one.platt),
        "reliability": [asdict(row) for row in one.bins],
        "accuracy_by_k": {curve.measure: curve.accuracy.tolist() for curve in one.curves},
        "gain_over_majority": {name: asdict(one.gain(f"{name}@k")) for name in ("best", "weighted")},
    }


def _area(found: Auc | None) -> str:
    return "none" if found is None else f"{found.value:.3f} [{found.interval.low:.2f}, {found.interval.high:.2f}]"


def _gain(gain: Gain) -> str:
    return f"{100 * gain.value:+.1f} [{100 * gain.interval.low:+.1f}, {100 * gain.interval.high:+.1f}]"
