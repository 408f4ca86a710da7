"""Tasks of reasoning-gym: fresh problems in splits that share none, the library's own scorer, and what is refused."""

import inspect
import re
import sys

import pytest

from isoflop import specs
from isoflop.answers.base import Verdict
from isoflop.answers.reasoning_gym import ReasoningGymGrader
from isoflop.errors import MissingExtraError, ProblemError, SpecError
from isoflop.problems.reasoning_gym import ReasoningGym
from isoflop.reasoning_gym import EXECUTING, Task, open_task, read_settings

SUMS = ReasoningGym("chain_sum", "min_terms=2, max_terms=3, min_digits=1, max_digits=1", n=30)


@pytest.fixture
def library():
    return pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed (make gym)")


def total(question):
    """What `...: 3 + 4 - 9 =` comes to, without the library."""
    first, *rest = question.rpartition(":")[2].strip(" =").split()
    return int(first) + sum(int(f"{sign}{term}") for sign, term in zip(rest[::2], rest[1::2], strict=True))


def test_a_spelling_names_task_and_settings_and_its_grader_follows():
    again = specs.parse("problems", str(SUMS))
    assert again == SUMS
    assert specs.parse("grader", again.grader) == ReasoningGymGrader("chain_sum", SUMS.settings)
    with pytest.raises(SpecError, match="has no field 'grader'"):
        specs.parse("problems", "reasoning_gym('chain_sum', grader='math()')")


def test_gold_answers_are_right_and_a_seed_gives_the_same_problems(library):
    found = SUMS.load("test")
    assert len(found) == 30
    assert found == SUMS.load("test")
    assert [total(problem.question) for problem in found] == [int(problem.answer) for problem in found]


def test_splits_share_no_question_whatever_the_seed(library):
    other = ReasoningGym("chain_sum", SUMS.settings, n=30, test_seed="9f2c")
    splits = {name: SUMS.load(name) for name in ("train", "dev", "test")} | {"other test": other.load("test")}
    questions = {name: {problem.question for problem in problems} for name, problems in splits.items()}
    assert questions["test"] != questions["other test"]
    tests = questions["test"] | questions["other test"]
    assert not questions["train"] & questions["dev"]
    assert not (questions["train"] | questions["dev"]) & tests
    assert SUMS.load("dev") == other.load("dev")


def test_more_problems_than_there_are_say_how_many_there_are(library):
    few = ReasoningGym("chain_sum", "min_terms=2, max_terms=2, min_digits=1, max_digits=1", n=300)
    with pytest.raises(ProblemError, match=r"only \d+ different problems were found; give n=\d+ or less"):
        few.load("test")


def test_the_grader_asks_the_library(library):
    grader = specs.parse("grader", SUMS.grader)
    assert grader.extract("3 + 4 = 7\nThe answer is 7.").text == "7"
    assert grader.extract("3 + 4 = 7") is None
    assert [grader.verify(answer, "1248") for answer in ("1248", "1,248.0", "248", "it is 1248")] == [
        *[Verdict.CORRECT] * 2,
        *[Verdict.WRONG] * 2,  # the last one gets partial credit from the library
    ]
    assert grader.verify("9" * 2000, "1248") is Verdict.WRONG


def test_what_the_scorer_takes_for_the_same_votes_together_in_any_order(library):
    grader = ReasoningGymGrader("chain_sum")
    assert grader.cluster(["12.0", None, "12", "13", "+12", "x"]) == ["12", None, "12", "13", "12", "x"]
    assert grader.cluster(["x", "+12", "13", "12", None, "12.0"]) == ["x", "12", "13", "12", None, "12"]


def test_a_scorer_that_breaks_down_has_not_called_it_right():
    class Broken:
        def score_answer(self, answer, entry):
            raise ZeroDivisionError

    assert not Task("broken", {}, Broken()).takes("1", "1")


def test_no_scorer_of_an_allowed_task_executes_what_a_model_wrote(library):
    from reasoning_gym.factory import DATASETS

    for name, (data_set, _) in DATASETS.items():
        executes = re.search(r"\b(eval|exec|parse_expr|sympify)\(", inspect.getsource(data_set.score_answer))
        assert not executes or name in EXECUTING, name


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("chain_sums", "", r"task 'chain_sums' is unknown; did you mean 'chain_sum'\? allowed: ab, "),
        ("chain_sum", "max_term=3", r"has no setting 'max_term'; did you mean 'max_terms'\? allowed: allow_negation, "),
        ("chain_sum", "seed=3", r"has no setting 'seed'"),
        ("chain_sum", "min_terms=9", r"AssertionError: max_terms must be >= min_terms"),
        ("puzzle24", "", r"refused: its scorer would execute what a model wrote"),
        ("word_sorting", "", r"its scorer needs more than the gold answer"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(library, task, settings, said):
    with pytest.raises(ProblemError, match=said):
        ReasoningGym(task, settings).load("dev")


def test_there_is_no_harder_split(library):
    with pytest.raises(ProblemError, match="split 'ood' is unknown"):
        SUMS.load("ood")


def test_settings_are_plain_values():
    assert read_settings("a=1, b=['+', '-'], c='x'") == {"a": 1, "b": ["+", "-"], "c": "x"}
    assert read_settings("") == {}
    for text in ("3", "a=open('x')", "**{}", "a=1); print(", "a=1, a=2"):
        with pytest.raises(SpecError, match="are not of the form 'name=value, name=value'"):
            ReasoningGym("chain_sum", text)


def test_without_the_package_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    open_task.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'isoflop\[gym\]'"):
        SUMS.load("dev")
