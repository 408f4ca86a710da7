"""Hidden operations: chained quantities, each worked out in one visible step that hides K serial operations.

All numbers are digits, all arithmetic is modulo 10 and goes from left to right, as on a pocket calculator. A problem
gives two values and defines the others one by one; asked for are the last three, digit by digit (1,000 answers):

    a = 7                                             c: a7 * 3 - b3, c = 8
    b = 3                                             d: c8 + 4 * 7 - a7, d = 7
    c: a * 3 - b                                      e: d7 - 2, e = 5
    d: c + 4 * 7 - a                                  #### 875
    e: d - 2
    cde?

A solution's line repeats the definition with the values put in (`a7` is a, which is 7), and then says the result. What
happens between `=` and the result nobody writes: K operations in the head. Steps end at the `=`, so that each begins
with its result, right after the place where a thought can help. The prompt that cuts them there:

    parse("prompt", "plain(step_end=['= '], answer_prefix='\\n#### ')")

Multipliers are 3, 7 and 9, which lose nothing modulo 10: a wrong partial result always makes a wrong result. The
likeliest answer, 000, comes in 0.7% of problems. That a name stands before its value, and modulo 10 itself, follow what
models of 0.4 M parameters could learn (the first entry of `dev/LOG.md` on hidden operations).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from random import Random
from typing import ClassVar, Self

from isoflop.core import Problem, Trajectory
from isoflop.problems.base import StepOracle
from isoflop.problems.generated import Generated, identifier
from isoflop.specs import require

NAMES = "abcdefghijklmnopqrstuvwxyz"
GIVEN = 2
ASKED = 3
MOST_STEPS = len(NAMES) - GIVEN - 2  # ood has two more
MOST_OPERATIONS = 9
MULTIPLIERS = ("3", "7", "9")


@dataclass(frozen=True)
class HiddenOps(Generated):
    """`n_steps` derived quantities, each of K hidden operations. A problem draws how many quantities, and its largest
    K, from the values given, equally often; each of its quantities then draws its K from the values up to that one.

    ood: two steps more than the most, each with one operation more than the most. `meta` holds the `solution` and, as
    `hidden`, the K - 1 partial results that stand behind each result.
    """

    spec_name: ClassVar[str] = "hiddenops"

    n_steps: tuple[int, ...] = (4,)
    ops: tuple[int, ...] = (1, 2, 3)
    _: KW_ONLY
    grader: str = "math(formats=['hashes'], fallback=none)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            bool(self.n_steps) and all(ASKED <= count <= MOST_STEPS for count in self.n_steps),
            f"n_steps={list(self.n_steps)} must lie between {ASKED}, which makes 1,000 answers, and {MOST_STEPS}",
        )
        require(
            bool(self.ops) and all(1 <= count <= MOST_OPERATIONS for count in self.ops),
            f"ops={list(self.ops)} must lie between 1 and {MOST_OPERATIONS}: operations hidden in a step",
        )

    def harder(self) -> Self:
        """Longer and deeper than anything in train. For one of the two alone, name a set of your own."""
        return replace(self, n_steps=(max(self.n_steps) + 2,), ops=(max(self.ops) + 1,))

    def draw(self, random: Random) -> Problem:
        """A problem with its solution."""
        known = list(NAMES[:GIVEN])
        question = [f"{name} = {random.randrange(10)}" for name in known]
        count, most = random.choice(self.n_steps), random.choice(self.ops)
        ops = [each for each in self.ops if each <= most]
        for name in NAMES[GIVEN : GIVEN + count]:
            question.append(f"{name}: {' '.join(_drawn(random, known, random.choice(ops)))}")
            known.append(name)
        text = "\n".join([*question, f"{''.join(known[-ASKED:])}?"])
        lines = worked_lines(text)
        solution = written(lines)
        meta = {"solution": solution, "hidden": [line.partial for line in lines]}
        return Problem(identifier(self.spec_name, text), text, solution[-ASKED:], meta)

    def step_oracle(self) -> StepOracle:
        """Exact: there is one right solution, and a path is right so far where it is a beginning of it."""
        return is_right_so_far


@dataclass(frozen=True, slots=True)
class Line:
    """A solution's line: its name, the expression with the values put in (none where the working is left out), what
    stands after each operation but the last, the right result of the expression, and the result that is written."""

    name: str
    expression: tuple[str, ...]
    partial: list[int]
    right: int
    result: int


def worked_lines(question: str, said: Callable[[Line], Line] = lambda line: line) -> list[Line]:
    """The lines of a solution. `said` says what is written of a right line; what follows goes on from its result."""
    values: dict[str, int] = {}
    lines = []
    for definition in question.splitlines()[:-1]:
        if " = " in definition:
            name, value = definition.split(" = ")
            values[name] = int(value)
            continue
        name, expression = definition.split(": ")
        put_in = tuple(f"{each}{values[each]}" if each in values else each for each in expression.split())
        *partial, right = running_results([each[-1] for each in put_in])
        lines.append(said(Line(name, put_in, partial, right, right)))
        values[name] = lines[-1].result
    return lines


def written(lines: Sequence[Line]) -> str:
    """The solution that these lines make, with its answer."""
    said = [f"{_working(line)}{line.name} = {line.result}" for line in lines]
    return "\n".join([*said, f"#### {''.join(str(line.result) for line in lines[-ASKED:])}"])


def running_results(expression: Sequence[str]) -> list[int]:
    """What stands after each operation of `7 * 3 - 3`, given as its parts: [1, 8]."""
    found, value = [], int(expression[0])
    for operation, operand in zip(expression[1::2], expression[2::2], strict=True):
        right = int(operand)
        value = {"+": value + right, "-": value - right, "*": value * right}[operation] % 10
        found.append(value)
    return found


def is_right_so_far(trajectory: Trajectory) -> bool:
    """See `right_so_far`."""
    return right_so_far(trajectory.origin.problem, trajectory.visible_text, finished=trajectory.finished)


def right_so_far(problem: Problem, text: str, *, finished: bool) -> bool:
    """Whether every line written repeats its definition with the right values and result, and between them the right
    partial results or none. Spaces do not count. Without its working no line is right, whatever it says."""
    ways = _ways(problem)
    *whole, last = (text.rstrip("\n") if finished else text).replace(" ", "").split("\n")
    if any(line not in way for line, way in zip(whole, ways, strict=False)) or len(whole) > len(ways):
        return False
    if finished:
        return len(whole) + 1 == len(ways) and last in ways[-1]
    return last == "" if len(whole) == len(ways) else any(way.startswith(last) for way in ways[len(whole)])


def _ways(problem: Problem) -> list[tuple[str, ...]]:
    """How each line of the solution may be written, without spaces."""
    *lines, answer = problem.meta["solution"].replace(" ", "").split("\n")
    found: list[tuple[str, ...]] = []
    for line, partial in zip(lines, problem.meta["hidden"], strict=True):
        start, _, result = line.rpartition(",")
        found.append((line, f"{start},{''.join(map(str, partial))},{result}") if partial else (line,))
    return [*found, (answer,)]


def _working(line: Line) -> str:
    return f"{line.name}: {' '.join(line.expression)}, " if line.expression else ""


def _drawn(random: Random, known: list[str], count: int) -> list[str]:
    """An expression of `count` operations on the last of the `known` names, on one more by chance, and on digits."""
    operations = random.choices("+-*", k=count)
    # The names stand where no multiplier has to: first, or behind + and -.
    places = [0, *(place for place, operation in enumerate(operations, 1) if operation != "*")]
    named = [known[-1]]
    if len(places) > 1 and random.random() < 0.5:
        named.append(random.choice(known[:-1]))
    at = dict(zip(random.sample(places, len(named)), named, strict=True))
    expression = [at.get(0) or str(random.randint(1, 9))]
    for place, operation in enumerate(operations, 1):
        digit = random.choice(MULTIPLIERS) if operation == "*" else str(random.randint(1, 9))
        expression += [operation, at.get(place, digit)]
    return expression
