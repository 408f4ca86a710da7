"""The tasks of reasoning-gym (arXiv 2505.24760), by name: problems drawn from a seed, answers scored by its scorers.

`reasoning_gym` is an optional package (the `gym` extra), imported when a task is opened. Only tasks that a text and a
gold answer are enough for can be had: where many answers are right and the scorer looks into the problem itself, or
where it would execute what a model wrote, the task is refused.

    task = open_task("chain_sum", "min_terms=3, max_terms=4")
    task.draw(7)                     # ("State the final answer to ...: 9194 - 1283 - 4063 =", "3848")
    task.takes("3,848.0", "3848")    # True
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from isoflop.errors import MissingExtraError, ProblemError, SpecError, did_you_mean

MAX_CHARACTERS = 1000  # nothing longer is scored as an answer

# Their scorers hand a model's answer to `eval` or to sympy's parser, which evaluates it.
EXECUTING = frozenset(
    {
        *("binary_matrix", "countdown", "intermediate_integration", "n_queens", "number_sorting"),
        *("polynomial_multiplication", "puzzle24", "simple_integration", "spiral_matrix", "string_insertion"),
    }
)


@dataclass(frozen=True)
class Task:
    """One task with its settings."""

    name: str
    settings: dict[str, Any]
    scorer: Any  # the library's data set; only its `score_answer` is used

    def draw(self, seed: int) -> tuple[str, str]:
        """A question and its gold answer. Raises ProblemError where gold alone cannot say what is right."""
        entry = _data_set(self.name, self.settings, seed)[0]
        question, gold = entry["question"], entry["answer"]
        if not (isinstance(gold, str) and self.takes(gold, gold)):
            raise ProblemError(
                f"reasoning-gym task {self.name!r} is refused: its scorer needs more than the gold answer {gold!r:.80}"
            )
        return question, gold

    def takes(self, answer: str, gold: str) -> bool:
        """Whether the library gives `answer` full marks where `gold` is its own answer; partial credit is not right."""
        if len(answer) > MAX_CHARACTERS:
            return False
        try:
            return bool(self.scorer.score_answer(answer, {"answer": gold}) >= 1)
        except Exception:  # a scorer that breaks down over a text has not called it right
            return False


@lru_cache(maxsize=64)
def open_task(name: str, settings: str = "") -> Task:
    """The task with `settings`, spelled as "max_terms=4, max_digits=2".

    Raises MissingExtraError without the package, ProblemError where it does not know the task or the settings.
    """
    given = read_settings(settings)
    if name in EXECUTING:
        raise ProblemError(f"reasoning-gym task {name!r} is refused: its scorer would execute what a model wrote")
    return Task(name, given, _data_set(name, given, seed=0))


def read_settings(text: str) -> dict[str, Any]:
    """Settings from their spelling. Raises SpecError unless it is `name=value, ...` with plain values."""
    try:
        call = ast.parse(f"settings({text})", mode="eval").body
        given = call.keywords if isinstance(call, ast.Call) and not call.args else []
        found = {each.arg: ast.literal_eval(each.value) for each in given if each.arg}
        if len(found) == len(given) and (found or not text.strip()):
            return found
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass
    raise SpecError(f"settings={text[:200]!r} are not of the form 'name=value, name=value' with plain values")


def _data_set(name: str, settings: dict[str, Any], seed: int) -> Any:
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError:
        raise MissingExtraError(
            f"reasoning-gym task {name!r} needs the package `reasoning-gym`: pip install 'isoflop[gym]'"
        ) from None
    if name not in DATASETS or name == "composite":
        raise ProblemError(f"reasoning-gym task {name!r} is unknown{did_you_mean(name, sorted(DATASETS))}")
    known = {each.name for each in fields(DATASETS[name][1])} - {"seed", "size"}
    for key in settings:
        if key not in known:
            raise ProblemError(f"reasoning-gym task {name!r} has no setting {key!r}{did_you_mean(key, sorted(known))}")
    try:
        return create_dataset(name, seed=seed, size=1, **settings)
    except Exception as error:  # the library asserts its settings' laws, each task in its own way
        raise ProblemError(f"reasoning-gym task {name!r} with {settings}: {type(error).__name__}: {error}") from error
