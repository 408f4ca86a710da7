"""`name(key=value)` <-> frozen dataclass: the one spelling of every strategy, engine, reward and problem set.

The same text is typed on the command line, written in a study file, shown in the table and kept in the store. It is
parsed as data (a Python literal syntax tree), never evaluated. A list where a field wants one value makes a family:

    parse("strategy", "rebase(width=8)")              # Rebase(width=8)
    expand("strategy", "rebase(width=[2, 4, 8])")     # three of them
    str(Rebase(width=8))                              # "rebase(width=8)"

Only the fields that differ from their defaults are spelled out. Nested specs, as in `ensemble(rewards=[logprob()])`,
are looked up in the family that the field's metadata names (`field(metadata={"family": "reward"})`).
"""

from __future__ import annotations

import ast
import importlib
import itertools
import types
import typing
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Literal

from isoflop.errors import SpecError, did_you_mean

# Each family's package holds a REGISTRY: name -> "module:Class". Strings: nothing heavy is imported.
FAMILIES: dict[str, str] = {
    "strategy": "isoflop.search",
    "engine": "isoflop.engines",
    "reward": "isoflop.rewards",
    "problems": "isoflop.problems",
    "prompt": "isoflop.problems.prompts",
    "grader": "isoflop.answers",
    "sampling": "isoflop.asking",
    "protocol": "isoflop.studies.protocol",
}


@dataclass(frozen=True)
class Spec:
    """Base of everything that is spelled `name(key=value)`. Subclasses are frozen dataclasses and set both names."""

    spec_family: ClassVar[str] = ""
    spec_name: ClassVar[str] = ""

    def __str__(self) -> str:
        shown = [
            f"{field.name}={_spell(getattr(self, field.name))}"
            for field in fields(self)
            if field.init and getattr(self, field.name) != _default(field)
        ]
        return f"{self.spec_name or type(self).__name__.lower()}({', '.join(shown)})"


def names(family: str) -> list[str]:
    """The names that a family knows, sorted."""
    return sorted(_registry(family))


def parse(family: str, text: str) -> Any:
    """One spec of `family` from its spelling.

    Raises SpecError where the text is not one spec: unknown name or field, wrong type, or a list that makes several.
    """
    found = expand(family, text)
    if len(found) != 1:
        raise SpecError(f"{family} {text!r} spells {len(found)} values, but one is wanted here")
    return found[0]


def expand(family: str, text: str) -> list[Any]:
    """All specs that a spelling with lists stands for, in the order written (last field varies fastest)."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise SpecError(f"{family} {text[:200]!r} is not of the form name(key=value): {error}") from None
    return _expand_call(family, tree, text)


@lru_cache(maxsize=256)
def load_class(family: str, name: str) -> type[Any]:
    """The dataclass behind a name."""
    registry = _registry(family)
    if name not in registry:
        raise SpecError(f"{family} {name!r} is unknown{did_you_mean(name, registry)}")
    module, _, attribute = registry[name].partition(":")
    return typing.cast(type[Any], getattr(importlib.import_module(module), attribute))


def require(condition: bool, law: str) -> None:
    """Raise SpecError with `law` unless the condition holds; for `__post_init__`."""
    if not condition:
        raise SpecError(law)


def _registry(family: str) -> dict[str, str]:
    if family not in FAMILIES:
        raise SpecError(f"spec family {family!r} is unknown{did_you_mean(family, FAMILIES)}")
    return typing.cast(dict[str, str], importlib.import_module(FAMILIES[family]).REGISTRY)


def _expand_call(family: str, node: ast.expr, text: str) -> list[Any]:
    name, arguments = _call_parts(family, node, text)
    cls = load_class(family, name)
    wanted = {field.name: field for field in fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    choices: dict[str, list[Any]] = {}
    positional = [key for key, field in wanted.items() if not field.kw_only]
    for key, value in _keyed(arguments, positional, f"{family} {name!r}").items():
        if key not in wanted:
            raise SpecError(f"{family} {name!r} has no field {key!r}{did_you_mean(key, wanted)}")
        where = f"{name}({key}=...)"
        options = _values(value, hints[key], wanted[key].metadata.get("family"), where)
        choices[key] = [_checked(option, hints[key], where) for option in options]
    missing = [key for key, field in wanted.items() if key not in choices and _default(field) is MISSING]
    if missing:
        raise SpecError(f"{family} {name!r} needs {', '.join(missing)}; its fields: {', '.join(wanted)}")
    return [cls(**dict(zip(choices, combination, strict=True))) for combination in itertools.product(*choices.values())]


def _call_parts(family: str, node: ast.expr, text: str) -> tuple[str, ast.Call | None]:
    if isinstance(node, ast.Name):
        return node.id, None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id, node
    raise SpecError(
        f"{family} {text[:200]!r} is not of the form name(key=value); known names: {', '.join(names(family))}"
    )


def _keyed(call: ast.Call | None, order: list[str], what: str) -> dict[str, ast.expr]:
    """Arguments by field name; positional ones take the fields in order, as in Python."""
    if call is None:
        return {}
    if len(call.args) > len(order):
        raise SpecError(f"{what} takes at most {len(order)} values ({', '.join(order)}), got {len(call.args)}")
    given = dict(zip(order, call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in given:
            raise SpecError(f"{what}: {keyword.arg or '**'} is given twice or unpacked; write each key once")
        given[keyword.arg] = keyword.value
    return given


def _values(node: ast.expr, hint: Any, family: str | None, where: str) -> list[Any]:
    """The values that one argument stands for: several where a list is given to a field that holds one value."""
    if isinstance(node, (ast.List, ast.Tuple)):
        parts = [_values(item, hint, family, where) for item in node.elts]
        flat = [value for part in parts for value in part]
        if _wants_tuple(hint):
            return [tuple(flat)]
        if not flat:
            raise SpecError(f"{where}: the list is empty; give at least one value")
        return flat
    if family and (isinstance(node, ast.Call) or (isinstance(node, ast.Name) and not _is_word(node))):
        return _expand_call(family, node, ast.unparse(node))
    if isinstance(node, ast.Name):
        return [_WORDS.get(node.id, node.id)]
    try:
        return [ast.literal_eval(node)]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise SpecError(f"{where}: {ast.unparse(node)[:100]!r} is not a plain value") from None


_WORDS: dict[str, Any] = {"none": None, "true": True, "false": False, "inf": float("inf")}


def _is_word(node: ast.Name) -> bool:
    return node.id in _WORDS


def _wants_tuple(hint: Any) -> bool:
    return any(typing.get_origin(option) is tuple for option in _options(hint))


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """`value` if it fits the annotation (an int fits a float), else SpecError."""
    for option in _options(hint):
        if option is float and type(value) is int:
            return float(value)
        if _fits(value, option):
            return value
    allowed = " or ".join(_name_of(option) for option in _options(hint))
    raise SpecError(f"{where}: {value!r} is not allowed here; wanted {allowed}")


def _fits(value: Any, option: Any) -> bool:
    origin = typing.get_origin(option)
    if origin is Literal:
        return value in typing.get_args(option)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, typing.get_args(option)[0]) for item in value)
    if option is Any:
        return True
    if option in (None, type(None)):
        return value is None
    # bool is an int in Python, but `width=True` is a mistake.
    return isinstance(option, type) and isinstance(value, option) and (option is bool or not isinstance(value, bool))


def _name_of(option: Any) -> str:
    if typing.get_origin(option) is Literal:
        return " | ".join(map(repr, typing.get_args(option)))
    return getattr(option, "__name__", str(option)) if typing.get_origin(option) is None else str(option)


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def _spell(value: Any) -> str:
    if isinstance(value, Spec):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_spell(item) for item in value) + "]"
    return repr(value)
