"""What dev fixed before the test split was touched: for each family and budget one arm, or a mixture of two.

    unit = "greedy"                          # the arm whose mean cost is the unit of all budgets
    [flops.8]                                # 8 times the unit's FLOPs
    B = ["vote 8"]
    T = ["thoughts 2", "thoughts 4"]         # as much of each as makes the mean cost the budget
    S = ["rebase 8"]
    C = ["thoughts + rebase 4"]
    [seconds.8]                              # the same in throughput seconds, for H4
    ...
    [protocols]                              # H0: one pair of arms by each protocol, with the same weights
    published = {C = "published: C", T = "published: T"}
    corrected = {C = "thoughts + rebase 4", T = "thoughts 4"}
    [controls]                               # beside C at 8 units of FLOPs; "oracle ..." is a bound and no rival
    "visible scratchpad" = ["scratchpad 4"]

Families: B base + vote, T thoughts + vote, S base + search, C thoughts + search.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoflop.errors import StudyError, did_you_mean

FAMILIES = ("B", "T", "S", "C")
BUDGETS = (2, 4, 8, 16, 32)
PROTOCOLS = ("published", "corrected")
Mix = tuple[str, ...]  # one label, or two
Table = Mapping[int, Mapping[str, Mix]]  # by budget and family


@dataclass(frozen=True)
class Choices:
    """See the module. `seconds` is empty where no seconds are to be tested."""

    unit: str
    flops: Table
    seconds: Table = field(default_factory=dict)
    protocols: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    controls: Mapping[str, Mix] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Choices:
        """Raises StudyError with file, key and fix."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StudyError(f"{path}: the choices cannot be read ({error.strerror}); check the path") from None
        except ValueError as error:
            raise StudyError(f"{path}: not a TOML file: {error}") from None
        return cls.of(table, str(path))

    @classmethod
    def of(cls, table: Mapping[str, Any], where: str) -> Choices:
        """From the tables of a file."""
        allowed = ("unit", "flops", "seconds", "protocols", "controls")
        for key in table:
            if key not in allowed:
                raise StudyError(f"{where}: key {key!r} is unknown{did_you_mean(key, allowed)}")
        unit = table.get("unit")
        if not isinstance(unit, str):
            raise StudyError(f"{where}: unit = {unit!r} must be the label of an arm, the greedy base")
        return cls(
            unit,
            _table(table.get("flops"), f"{where}: [flops]", needed=True),
            _table(table.get("seconds"), f"{where}: [seconds]", needed=False),
            _protocols(table.get("protocols", {}), f"{where}: [protocols]"),
            {name: _mix(mix, f"{where}: controls.{name}") for name, mix in table.get("controls", {}).items()},
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Every arm that the hypotheses need, each once."""
        return tuple(dict.fromkeys(self._all()))

    @property
    def beside_controls(self) -> tuple[str, ...]:
        """The controls' arms, and those that they are compared with."""
        controls = (label for mix in self.controls.values() for label in mix)
        return tuple(dict.fromkeys([self.unit, *self.flops[8]["C"], *controls]))

    def _all(self) -> Iterator[str]:
        yield self.unit
        for table in (self.flops, self.seconds):
            for families in table.values():
                for mix in families.values():
                    yield from mix
        for pair in self.protocols.values():
            yield from pair.values()

    def to_toml(self) -> str:
        """What `load` reads."""
        lines = [f"unit = {_quoted(self.unit)}"]
        for kind in ("flops", "seconds"):
            for budget, families in getattr(self, kind).items():
                lines += ["", f"[{kind}.{budget}]", *(f"{name} = {_listed(mix)}" for name, mix in families.items())]
        if self.protocols:
            lines += ["", "[protocols]"]
            for name, pair in self.protocols.items():
                lines.append(f"{name} = {{{', '.join(f'{key} = {_quoted(label)}' for key, label in pair.items())}}}")
        if self.controls:
            lines += ["", "[controls]", *(f"{_quoted(name)} = {_listed(mix)}" for name, mix in self.controls.items())]
        return "\n".join(lines) + "\n"


def _table(found: Any, where: str, *, needed: bool) -> Table:
    if found is None and not needed:
        return {}
    wanted = {str(budget) for budget in BUDGETS}
    if not isinstance(found, dict) or set(found) != wanted:
        raise StudyError(f"{where} must hold a table for each budget: {', '.join(sorted(wanted, key=int))}")
    table = {}
    for budget in BUDGETS:
        families = found[str(budget)]
        if not isinstance(families, dict) or set(families) != set(FAMILIES):
            raise StudyError(
                f"{where}: budget {budget} must name {', '.join(FAMILIES)}, each a list of one or two arms"
            )
        table[budget] = {name: _mix(families[name], f"{where} {budget}.{name}") for name in FAMILIES}
    return table


def _mix(found: Any, where: str) -> Mix:
    if not isinstance(found, list) or len(found) not in (1, 2) or not all(isinstance(label, str) for label in found):
        raise StudyError(f"{where} = {found!r} must be a list of one label, or of two that are mixed")
    return tuple(found)


def _protocols(found: Any, where: str) -> Mapping[str, Mapping[str, str]]:
    if not found:
        return {}
    if not isinstance(found, dict) or set(found) != set(PROTOCOLS):
        raise StudyError(f"{where} must hold {' and '.join(PROTOCOLS)}, each with C and T")
    for name, pair in found.items():
        if not isinstance(pair, dict) or set(pair) != {"C", "T"} or not all(isinstance(x, str) for x in pair.values()):
            raise StudyError(f"{where}: {name} = {pair!r} must name the arms C and T")
    return found


def _listed(mix: Mix) -> str:
    return f"[{', '.join(map(_quoted, mix))}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
