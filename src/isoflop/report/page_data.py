"""What the page knows of a run, as plain values: every number is worked out here, the page only looks them up.

    summary = page_summary(Run.open("runs/first"), Table.of(run), prices=None)
    json.dumps(summary)

Statistics come from `isoflop.stats` by way of the table; positions along a budget, curves and bins are all precomputed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isoflop.report.answer import Pairs, answers, may_win
from isoflop.report.arms import ArmSummary
from isoflop.report.budget import Axis, Prices, axes
from isoflop.report.comparison import measures_of, score_interval
from isoflop.report.fate import MEANINGS
from isoflop.report.judged import calibrations
from isoflop.report.layout import Column, heading, notes, sections
from isoflop.report.pools import PoolCurves
from isoflop.report.problem_blobs import cell, disagreement
from isoflop.report.style import for_dark, looks
from isoflop.report.table import Table
from isoflop.stats.arms import ArmData
from isoflop.stats.frontier import mixture_hull, pareto_frontier
from isoflop.stats.intervals import wilson
from isoflop.studies.record import Record
from isoflop.studies.run import Run

EXPLORATORY = "Exploratory pairs"
QUESTION_CHARACTERS = 240  # of a question in the list; the problem itself has all of it
CURVE_RESAMPLES = 2000
_MIXTURE_POINTS = 80


@dataclass(frozen=True)
class Attempts:
    """A run's records, by problem and by arm, in the study's order."""

    records: tuple[Record, ...]
    by_problem: tuple[tuple[Record, ...], ...]

    @classmethod
    def of(cls, run: Run) -> Attempts:
        """All that is stored."""
        found: dict[str, list[Record]] = {problem.id: [] for problem in run.problems}
        records = tuple(run.attempts)
        for record in records:
            found[record.problem.id].append(record)
        return cls(records, tuple(map(tuple, found.values())))


def page_summary(run: Run, table: Table, attempts: Attempts, prices: Prices | None) -> dict[str, Any]:
    """Everything but the problems' trees."""
    counted = axes(prices, table.arms)
    pairs = Pairs(table)
    return {
        "study": _study(run, table),
        "progress": _progress(table),
        "arms": _arms(table, counted),
        "axes": [_axis(axis, table, pairs) for axis in counted],
        "tables": [
            {"title": title, "columns": _columns(columns), "folded": title.startswith(EXPLORATORY)}
            for title, columns in sections(table, exploratory=True)
        ],
        "notes": notes(table),
        "pools": [_pool(pool) for pool in table.pools],
        "calibrations": [
            {
                "arm": one.arm,
                "reward": one.reward,
                "solutions": one.solutions,
                "error": one.error,
                "bins": [asdict(each) | _share_interval(each.observed, each.n) for each in one.bins],
            }
            for one in calibrations(attempts.records, table.arms)
        ],
        "problems": _problems(run, table, attempts),
        "fates": {fate.value: meaning for fate, meaning in MEANINGS.items()},
    }


def _study(run: Run, table: Table) -> dict[str, Any]:
    sessions = run.sessions
    return {
        "name": table.study.name,
        "hash": table.study.hash,
        "heading": heading(table),
        "problems": str(table.study.problems),
        "split": table.study.split,
        "seeds": list(table.study.seeds),
        "reference": table.study.reference,
        "models": sorted({str(arm.arm.engine) for arm in table.arms}),
        "hardware": sorted({session["hardware"] for session in sessions if session["hardware"]}),
        "started": sessions[0]["started"] if sessions else None,
        "running": any(session["state"] == "running" for session in sessions),
    }


def _progress(table: Table) -> dict[str, Any]:
    made = [(arm.attempts, arm.attempts + arm.missing, len(arm.failures)) for arm in table.arms]
    done, total, failed = (sum(column) for column in zip(*made, strict=True))
    return {"done": done, "total": total, "failed": failed, "incomplete": [a.label for a in table.arms if a.missing]}


def _arms(table: Table, counted: Sequence[Axis]) -> list[dict[str, Any]]:
    named = looks(table.study)
    found = []
    for arm in table.arms:
        look, measures, interval = named[arm.label], measures_of(arm), arm.interval
        score = score_interval(arm) if measures is not None else None
        found.append(
            {
                "label": arm.label,
                "family": str(id(look)),
                "colour": look.colour,
                "dark": for_dark(look.colour),
                "marker": look.marker,
                "complete": arm.complete,
                "n": arm.n,
                "accuracy": arm.accuracy,
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "cost": {axis.key: axis.of(arm) for axis in counted},
                "score": None if measures is None else measures.efficiency_score,
                "score_low": None if score is None else score.low,
                "score_high": None if score is None else score.high,
                "parts": [
                    {"role": role, "phase": phase, "flops": arm.per_problem(f"{phase}_flops", role) or 0.0}
                    for role in arm.roles
                    for phase in ("prefill", "decode")
                ],
                "naive_flops": arm.per_problem("naive_flops"),
                "spent_flops": arm.per_problem("flops", spent=True),
            }
        )
    return found


def _axis(axis: Axis, table: Table, pairs: Pairs) -> dict[str, Any]:
    """One way to count: its answers, and what lies on the frontier of the arms that may win."""
    data = {arm.label: _at_cost(arm, cost) for arm in table.arms if may_win(arm) and (cost := axis.of(arm))}
    best = [arm for arm in data.values() if arm is not None]
    return {
        "key": axis.key,
        "unit": axis.unit,
        "size": axis.size,
        "label": axis.label,
        "answers": [asdict(answer) for answer in answers(table, axis, pairs)],
        "frontier": [arm.name for arm in pareto_frontier(best)] if best else [],
        "mixture": _mixture(best) if best else [],
    }


def _at_cost(arm: ArmSummary, cost: float) -> ArmData | None:
    """The arm's data with this cost in the place of FLOPs: the frontier asks for means alone."""
    data = arm.data
    return None if data is None else ArmData(data.name, data.problems, data.correct, np.full(data.correct.shape, cost))


def _mixture(arms: Sequence[ArmData]) -> list[list[float]]:
    """Cost and accuracy along the best mixtures of two arms; straight in cost, so bent on a logarithmic axis."""
    hull = mixture_hull(arms)
    if len(hull) < 2:
        return []
    costs, accuracy = [arm.mean_flops for arm in hull], [arm.accuracy for arm in hull]
    grid = np.geomspace(costs[0], costs[-1], _MIXTURE_POINTS)
    return [[float(x), float(y)] for x, y in zip(grid, np.interp(grid, costs, accuracy), strict=True)]


def _columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [{"heading": column.heading, "left": column.left, "cells": list(column.cells)} for column in columns]


def _pool(pool: PoolCurves) -> dict[str, Any]:
    largest = pool.curves[0].k[-1]
    shown = sorted({2**power for power in range(largest.bit_length())} | {largest})
    curves = []
    for curve in pool.curves:
        bounds = [curve.interval(k, resamples=CURVE_RESAMPLES) for k in shown]
        curves.append(
            {
                "measure": curve.measure,
                "accuracy": [float(value) for value in curve.accuracy],
                "bars": [[k, bound.low, bound.high] for k, bound in zip(shown, bounds, strict=True)],
            }
        )
    return {"arms": list(pool.arms), "problems": pool.problems, "k": list(pool.curves[0].k), "curves": curves}


def _share_interval(share: float, n: int) -> dict[str, float]:
    interval = wilson(share * n, n)
    return {"observed_low": interval.low, "observed_high": interval.high}


def _problems(run: Run, table: Table, attempts: Attempts) -> list[dict[str, Any]]:
    labels = list(table.study.labels)
    found = []
    for problem, records in zip(run.problems, attempts.by_problem, strict=True):
        by_arm: Mapping[str, list[Record]] = {label: [] for label in labels}
        for record in records:
            by_arm[record.arm].append(record)
        found.append(
            {
                "id": problem.id,
                "question": problem.question[:QUESTION_CHARACTERS],
                "gold": problem.answer,
                "disagreement": disagreement(records),
                "cells": [cell(by_arm[label]) for label in labels],
            }
        )
    return found
