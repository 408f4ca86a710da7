"""What a budget is counted in: FLOPs, seconds, new tokens, or money where prices are given. All are means per problem.

    prices = Prices.of({"hour": 2.5})              # money = seconds, at 2.5 an hour of the machine
    [axis.of(arm) for axis in axes(prices, arms)]

Money follows from what a run recorded; it is no bill: a server that keeps prompts cached may charge less for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from isoflop.errors import SpecError, did_you_mean
from isoflop.report.arms import ArmSummary
from isoflop.report.units import Unit, three_digits, unit_for

_MILLION = 1e6
_HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Prices:
    """Of an hour of the machine, and of a million tokens read (`input`) and made (`output`), in `currency`."""

    hour: float = 0.0
    input: float = 0.0
    output: float = 0.0
    currency: str = "$"

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Prices | None:
        """From `NAME=VALUE` texts; None where there are none. Raises SpecError for a name or a number that is wrong."""
        if not given:
            return None
        names = list(cls.__slots__)
        for name in given:
            if name not in names:
                raise SpecError(f"--price names {name!r}{did_you_mean(name, names)}")
        numbers = {name: _price(name, text) for name, text in given.items() if name != "currency"}
        if not any(numbers.values()):
            raise SpecError("--price needs a price above 0: hour=2.5, or input=0.1 and output=0.4 (a million tokens)")
        return cls(**numbers, currency=given.get("currency", "$"))

    def of_arm(self, arm: ArmSummary) -> float | None:
        """What one problem costs; None where the run did not record what is priced."""
        seconds, made = arm.seconds_per_problem, arm.tokens_per_problem
        if (self.hour and seconds is None) or ((self.input or self.output) and made is None):
            return None
        read = arm.per_problem("prompt_tokens") or 0.0
        tokens = (self.input * read + self.output * (made or 0.0)) / _MILLION
        return tokens + self.hour * (seconds or 0.0) / _HOUR_SECONDS or None


@dataclass(frozen=True)
class Axis:
    """One way to count. `size` is what one shown unit holds: 1e9 where GFLOPs are shown."""

    key: str
    unit: str
    size: float
    of: Callable[[ArmSummary], float | None]

    @property
    def label(self) -> str:
        """What stands beside the axis."""
        if self.key == "money":
            return f"{self.unit} per 1,000 problems"
        return f"{self.unit} per problem" + (" (modelled)" if self.key == "seconds" else "")

    def said(self, value: float) -> str:
        """A value with its unit."""
        if self.key == "money":
            return f"{self.unit} {three_digits(value / self.size)} per 1,000 problems"
        return f"{three_digits(value / self.size)} {self.unit}"


def axes(prices: Prices | None, arms: Sequence[ArmSummary]) -> tuple[Axis, ...]:
    """Every way in which some arm's cost is known."""
    unit: Unit = unit_for(arm.flops_per_problem for arm in arms)
    found = [
        Axis("flops", unit.name, unit.size, lambda arm: arm.flops_per_problem),
        Axis("seconds", "seconds", 1.0, lambda arm: arm.seconds_per_problem),
        Axis("tokens", "tokens", 1.0, lambda arm: arm.tokens_per_problem),
    ]
    if prices is not None:
        found.append(Axis("money", prices.currency, 1e-3, prices.of_arm))
    return tuple(axis for axis in found if any(axis.of(arm) for arm in arms))


def _price(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise SpecError(f"--price {name}={text!r} is no price; give a number, such as {name}=2.5")
    return value
