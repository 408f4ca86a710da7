"""Others' samples as arms of an audit: accuracy and pairing alone, a file an arm.

What lm-eval, inspect or a script of one's own wrote is graded by isoflop's grader; FLOPs and seconds are not in such
files. A problem's samples count with their mean, so files may hold different numbers of them.

    read_sample_files([Path("samples_gsm8k_a.jsonl"), Path("samples_gsm8k_b.jsonl")])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from isoflop import specs
from isoflop.answers.base import Grader, graded
from isoflop.audit.arms import AuditedArm
from isoflop.core import Outcome, Problem
from isoflop.errors import ProblemError
from isoflop.problems.imports import SampleFormat, import_samples
from isoflop.stats.arms import ArmData


def read_sample_files(
    paths: Sequence[Path], form: SampleFormat | None = None, grader: str = "math()"
) -> tuple[AuditedArm, ...]:
    """One arm a file, named by it. Raises ProblemError for a file that cannot be read or a problem without gold."""
    chosen: Grader = specs.parse("grader", grader)
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return tuple(_arm(name, path, form, chosen) for name, path in zip(names, paths, strict=True))


def _arm(name: str, path: Path, form: SampleFormat | None, grader: Grader) -> AuditedArm:
    right: dict[str, list[float]] = {}
    for sample in import_samples(path, form):
        if sample.gold is None:
            raise ProblemError(f"{path}: problem {sample.problem_id!r} has no gold answer, so nothing can be right")
        problem = Problem(sample.problem_id, sample.question, sample.gold)
        verdict = graded(grader, problem, sample.text)
        right.setdefault(sample.problem_id, []).append(float(verdict is Outcome.CORRECT))
    problems = sorted(right)  # files of one task may be in different orders
    data = ArmData(name, problems, [[fmean(right[one])] for one in problems], [[0.0]] * len(problems))
    return AuditedArm(data)
