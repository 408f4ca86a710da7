"""A study file (TOML) to a Study, strictly: an unknown key, an empty list or a wrong type is an error, never ignored.

    name = "gsm8k-qwen"
    variables = {data = "data/gsm8k"}              # ${data} in any text; changed by load_study(path, {"data": "other"})
    problems = "gsm8k(path='${data}', limit=64)"
    model = "Qwen/Qwen2.5-0.5B-Instruct"          # what is said here holds for every arm that does not say otherwise
    reference = "greedy()"

    [[arms]]
    strategy = ["greedy()", "self_consistency(n=8)"]

    [[arms]]
    strategy = "rebase(width=[2, 4, 8])"
    reward = ["logprob()", "random()"]
    budget = {tokens = 4096}

Lists multiply: an `[[arms]]` table stands for every combination of its values; {strategy} in its `name` is each arm's
own. `protocol = "as-published"` runs an arm by the published study's rules (`protocol.py`). Without `[[arms]]` the keys
at the top are the only table.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoflop import specs
from isoflop.cost.ledger import Budget
from isoflop.errors import StudyError, did_you_mean
from isoflop.specs import Spec
from isoflop.studies.protocol import AsPublished, protocol_of
from isoflop.studies.spec import DEFAULT_PROMPT, Arm, Study, engine_of

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_AXES = ("model", "strategy", "reward", "prompt", "sampling", "budget", "protocol")
_DEFAULTS: dict[str, Any] = {"reward": None, "prompt": DEFAULT_PROMPT, "sampling": "sampling()"}
_TYPES: dict[str, tuple[type, str]] = {
    "name": (str, "a text"),
    "problems": (str, "a text such as \"gsm8k(path='test.jsonl')\""),
    "split": (str, 'a split of the problem set, such as "test"'),
    "seeds": (list, "a list such as [0, 1]"),
    "reference": (str, "the label of an arm"),
    "concurrency": (int, "a whole number"),
}
_TOP = (*_TYPES, "comparisons", "arms", *_AXES)


def load_study(path: str | Path, variables: Mapping[str, str] | None = None) -> Study:
    """The study that a file declares, with other values for some of its `variables`.

    Raises StudyError with file, key, value and fix.
    """
    try:
        text = Path(path).read_bytes().decode()
        table = tomllib.loads(text)
    except OSError as error:
        raise StudyError(f"{path}: the study file cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:  # a TOML error with its line, or bytes that are no UTF-8
        raise StudyError(f"{path}: not a study file in TOML: {error}") from None
    return study_from_dict(_filled(table, variables or {}, str(path)), where=str(path))


def _filled(table: dict[str, Any], given: Mapping[str, str], where: str) -> dict[str, Any]:
    """The table with every ${name} replaced; unknown names, in the texts or among those given, are errors."""
    declared = table.pop("variables", {})
    if not isinstance(declared, dict) or not all(isinstance(value, str) for value in declared.values()):
        raise StudyError(f"{where}: variables = {declared!r} is not a table of texts such as {{data = 'data/gsm8k'}}")
    _refuse_unknown(given, tuple(declared), f"{where}: variables")
    values: dict[str, str] = {**declared, **given}

    def fill(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: fill(value) for key, value in item.items()}
        if isinstance(item, list):
            return [fill(value) for value in item]
        return _VARIABLE.sub(value_of, item) if isinstance(item, str) else item

    def value_of(found: re.Match[str]) -> str:
        _refuse_unknown({found[1]: None}, tuple(declared), f"{where}: {found[0]} is used, but in variables the")
        return values[found[1]]

    filled: dict[str, Any] = fill(table)
    return filled


def study_from_dict(table: Mapping[str, Any], where: str) -> Study:
    """A Study from the tables of a study file; `where` names the file in errors."""
    _refuse_unknown(table, _TOP, where)
    for key, (wanted, what) in _TYPES.items():
        if key in table and type(table[key]) is not wanted:
            raise StudyError(f"{where}: {key} = {table[key]!r} is not {what}")
    if "problems" not in table:
        raise StudyError(f"{where}: problems is missing; add a line such as problems = \"gsm8k(path='test.jsonl')\"")
    shared = {axis: table[axis] for axis in _AXES if axis in table}
    arms = [arm for place, own in _arm_tables(table, where) for arm in arms_of({**shared, **own}, place)]
    plain = {key: table[key] for key in (*_TYPES, "comparisons") if key in table}
    try:
        plain["problems"] = specs.parse("problems", plain["problems"])
        return Study(arms=arms, **plain)
    except ValueError as error:
        raise StudyError(f"{where}: {error}") from None


def arms_of(table: Mapping[str, Any], where: str) -> list[Arm]:
    """Every combination of the values that one arm table holds; a value is a spelling, a spec, or a list of them."""
    for key in ("model", "strategy"):
        if key not in table:
            raise StudyError(f"{where}: {key} is missing; give it here or at the top of the study")
    choices = [_choices(axis, table.get(axis, _DEFAULTS.get(axis)), where) for axis in _AXES]
    made = []
    for engine, strategy, reward, prompt, sampling, budget, protocol in itertools.product(*choices):
        arm = Arm(engine=engine, strategy=strategy, reward=reward, prompt=prompt, sampling=sampling, budget=budget)
        made.append(arm if protocol is None else _by(protocol, arm, where))
    name = table.get("name", "")
    if not isinstance(name, str):
        raise StudyError(f"{where}: name = {name!r} is not a text")
    arms = list(dict.fromkeys(made))
    names = [name.replace("{strategy}", str(arm.strategy)) for arm in arms]
    if name and len(set(names)) < len(arms):
        raise StudyError(
            f"{where}: name = {name!r} cannot name {len(arms)} arms; leave it out, give single values, or write "
            "{strategy} into it"
        )
    return [Arm(**{**vars(arm), "name": own}) for arm, own in zip(arms, names, strict=True)] if name else arms


def _arm_tables(table: Mapping[str, Any], where: str) -> list[tuple[str, Mapping[str, Any]]]:
    if "arms" not in table:
        return [(where, {})]
    listed = table["arms"]
    if not isinstance(listed, list) or not listed or not all(isinstance(own, dict) for own in listed):
        raise StudyError(f"{where}: arms must be one or more [[arms]] tables")
    places = [(f"{where}: arms[{index}]", own) for index, own in enumerate(listed)]
    for place, own in places:
        _refuse_unknown(own, (*_AXES, "name"), place)
    return places


def _choices(axis: str, value: Any, where: str) -> list[Any]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise StudyError(f"{where}: {axis} = [] leaves nothing to run; give at least one value")
    try:
        return [choice for item in values for choice in _expanded(axis, item)]
    except ValueError as error:
        raise StudyError(f"{where}: {axis} = {value!r}: {error}") from None


def _by(protocol: AsPublished, arm: Arm, where: str) -> Arm:
    try:
        return protocol.applied(arm)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from None


def _expanded(axis: str, item: Any) -> list[Any]:
    """The values that one entry stands for."""
    if axis == "budget":
        return [_budget(item)]
    if axis == "protocol" and (item is None or isinstance(item, str)):
        return [None if item is None else protocol_of(item)]
    if isinstance(item, Spec) or (item is None and axis == "reward"):
        return [item]
    if not isinstance(item, str):
        raise StudyError(f"{item!r} is not a text")
    return [engine_of(item)] if axis == "model" else specs.expand(axis, item)


def _budget(item: Any) -> Budget:
    if item is None or isinstance(item, Budget):
        return item or Budget()
    if not isinstance(item, dict):
        raise StudyError(f"{item!r} is not a table such as {{flops = 1e12}}")
    _refuse_unknown(item, ("flops", "tokens", "seconds"), "budget")
    for key, limit in item.items():
        if (
            isinstance(limit, bool)
            or not isinstance(limit, (int, float))
            or (key == "tokens" and type(limit) is not int)
        ):
            raise StudyError(f"{key} = {limit!r} is not a {'whole number' if key == 'tokens' else 'number'}")
    return Budget(**item)


def _refuse_unknown(table: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in allowed:
            raise StudyError(f"{where}: key {key!r} is unknown{did_you_mean(key, allowed)}")
