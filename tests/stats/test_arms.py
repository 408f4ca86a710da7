"""What may be compared: shapes, values and the same problems in the same order."""

import subprocess
import sys

import numpy as np
import pytest

from isoflop.errors import StudyError
from isoflop.stats.arms import ArmData, arm_named, require_same_problems

PROBLEMS = ("p0", "p1", "p2")


def arm(name="greedy()", problems=PROBLEMS, correct=((1, 0), (1, 1), (0, 0)), flops=((2, 4), (6, 6), (0, 0))):
    return ArmData(name, problems, correct, flops)


def test_means_are_over_attempts_then_problems():
    assert arm().accuracy_by_problem.tolist() == [0.5, 1.0, 0.0]
    assert arm().flops_by_problem.tolist() == [3.0, 6.0, 0.0]
    assert arm().accuracy == 0.5
    assert arm().mean_flops == 3.0
    assert arm().attempts == 2
    assert arm().named("other").name == "other"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problems": ("p0", "p1")}, r"arm 'greedy\(\)': correct has shape \(3, 2\); expected .*\(2, attempts >= 1\)"),
        ({"flops": ((1,), (1,), (1,))}, r"flops has shape \(3, 1\)"),
        ({"correct": ((1, 0), (np.nan, 1), (0, 0))}, r"correct of problem 'p1' is negative or not finite"),
        ({"flops": ((1, 0), (0, 1), (0, -1))}, r"flops of problem 'p2' is negative"),
        ({"correct": ((1, 0), (5, 1), (0, 0))}, r"correct reaches 5; allowed: 0 \(wrong\) to 1 \(right\)"),
        ({"problems": ("p0", "p1", "p0")}, r"names 'p0' twice"),
        ({"problems": ()}, r"no problems"),
    ],
)
def test_wrong_data_is_refused(change, message):
    with pytest.raises(StudyError, match=message):
        arm(**change)


def test_arms_on_other_problems_are_not_comparable():
    other = arm("rebase(width=4)", problems=("p0", "p1", "p9"))
    with pytest.raises(StudyError, match=r"only in 'greedy\(\)': 'p2'; only in 'rebase\(width=4\)': 'p9'"):
        require_same_problems([arm(), other])


def test_order_of_problems_matters():
    with pytest.raises(StudyError, match=r"row 1 is 'p1' in one and 'p2' in the other"):
        require_same_problems([arm(), arm("b", problems=("p0", "p2", "p1"))])


def test_same_problems_pass_and_unknown_names_list_the_allowed():
    assert require_same_problems([arm(), arm("b")]) == PROBLEMS
    with pytest.raises(StudyError, match=r"no arm is named 'x'; allowed: greedy\(\), b"):
        arm_named([arm(), arm("b")], "x")


def test_isoflop_imports_no_statistics():
    code = "import sys, isoflop; assert not {'isoflop.stats', 'scipy', 'statsmodels', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_statistics_load_scipy_only_on_use():
    modules = ", ".join(
        f"isoflop.stats.{name}" for name in ["arms", "intervals", "paired", "curves", "votes", "frontier", "scaling"]
    )
    code = f"import sys, {modules}; assert not {{'scipy', 'statsmodels', 'pandas', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
