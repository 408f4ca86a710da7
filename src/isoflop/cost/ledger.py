"""Cost adds; a Ledger only grows; a Budget is a limit that is never exceeded.

One `Cost` says what some work took. Costs of different roles (policy, thought, reward) are kept apart by the `Ledger`,
which has one entry point, `charge`: every operation is charged once, when it happens. It is not an estimate of what
some other implementation would take: the field `naive_flops` says what sharing nothing would have needed, beside the
real figure, and never replaces it.

    ledger = Ledger()
    ledger.charge("policy", Cost(decode_flops=10, new_tokens=1))
    ledger.total().flops        # 10
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from isoflop.errors import SpecError

Role = Literal["policy", "thought", "reward"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work took. All fields add, except `kv_held_bytes`, a peak, which takes the larger.

    FLOPs count a multiply-add as 2. `prefill_flops` and `decode_flops` count what is needed (causal and windowed
    context only); `executed_flops` what the kernels multiply; `naive_flops` what the same tokens would have needed had
    nothing been shared. `seconds` of work that several searches shared is divided over its rows: a model, not a
    measurement, of what one search took (`isoflop time` measures). `joules` is None where no meter exists.
    """

    prefill_flops: int = 0
    decode_flops: int = 0
    executed_flops: int = 0
    naive_flops: int = 0
    weight_bytes: int = 0
    kv_read_bytes: int = 0
    kv_held_bytes: int = 0
    serial_forwards: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    new_tokens: int = 0
    recomputed_tokens: int = 0
    seconds: float = 0.0
    joules: float | None = None

    @property
    def flops(self) -> int:
        """FLOPs needed, prefill and decode together: the headline figure."""
        return self.prefill_flops + self.decode_flops

    @property
    def tokens(self) -> int:
        """Tokens the model processed or made: prompt (uncached), recomputed and new."""
        return self.prompt_tokens + self.recomputed_tokens + self.new_tokens

    def __add__(self, other: Cost) -> Cost:
        joules = None if self.joules is None and other.joules is None else (self.joules or 0.0) + (other.joules or 0.0)
        return Cost(
            self.prefill_flops + other.prefill_flops,
            self.decode_flops + other.decode_flops,
            self.executed_flops + other.executed_flops,
            self.naive_flops + other.naive_flops,
            self.weight_bytes + other.weight_bytes,
            self.kv_read_bytes + other.kv_read_bytes,
            max(self.kv_held_bytes, other.kv_held_bytes),
            self.serial_forwards + other.serial_forwards,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.new_tokens + other.new_tokens,
            self.recomputed_tokens + other.recomputed_tokens,
            self.seconds + other.seconds,
            joules,
        )

    def to_dict(self) -> dict[str, int | float | None]:
        """Plain values for a store; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, int | float | None]) -> Cost:
        """The inverse of `to_dict`; unknown keys are an error of the store, not silently dropped."""
        return cls(**values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one node of a search's tree is charged; over a tree the FLOPs add up to what the attempt is charged.

    `flops` are the policy's (thoughts included), `reward_flops` those of scoring the path that ends here. When the node
    was begun, `cached_tokens` of its context were known already and `read_tokens` had to be read; siblings share that
    reading, which the first one bears. What one request made (a whole sample) is divided over its steps by tokens.
    `seconds` are modelled, as in `Cost`.
    """

    flops: int = 0
    reward_flops: int = 0
    cached_tokens: int = 0
    read_tokens: int = 0
    seconds: float = 0.0

    @property
    def cached_share(self) -> float | None:
        """Share of the context that was cached, 0 to 1; None where there was no context."""
        context = self.cached_tokens + self.read_tokens
        return self.cached_tokens / context if context else None


ZERO = Cost()
COST_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Cost))


class Ledger:
    """Append-only: costs by role, each charged once. `entries` counts the charges made."""

    __slots__ = ("_by_role", "entries")

    def __init__(self) -> None:
        self._by_role: dict[Role, _Tally] = {}
        self.entries = 0

    def charge(self, role: Role, cost: Cost) -> None:
        """Book `cost` under `role`."""
        tally = self._by_role.get(role)
        if tally is None:
            if role not in ROLES:
                raise SpecError(f"cost role {role!r} is unknown; allowed: {', '.join(ROLES)}")
            tally = self._by_role[role] = _Tally()
        tally.add(cost)
        self.entries += 1

    def charge_all(self, costs: Mapping[Role, Cost]) -> None:
        """Book several roles' costs at once."""
        for role, cost in costs.items():
            self.charge(role, cost)

    def by_role(self) -> dict[Role, Cost]:
        """The totals by role."""
        return {role: tally.total() for role, tally in self._by_role.items()}

    def total(self) -> Cost:
        """All roles together."""
        return sum(self.by_role().values(), ZERO)


class _Tally:
    """A running sum of costs. The driver books several costs a step: adding in place is 4 times as fast as +."""

    __slots__ = COST_FIELDS

    def __init__(self) -> None:
        self.prefill_flops = self.decode_flops = self.executed_flops = self.naive_flops = 0
        self.weight_bytes = self.kv_read_bytes = self.kv_held_bytes = self.serial_forwards = 0
        self.prompt_tokens = self.cached_tokens = self.new_tokens = self.recomputed_tokens = 0
        self.seconds = 0.0
        self.joules: float | None = None

    def add(self, cost: Cost) -> None:
        self.prefill_flops += cost.prefill_flops
        self.decode_flops += cost.decode_flops
        self.executed_flops += cost.executed_flops
        self.naive_flops += cost.naive_flops
        self.weight_bytes += cost.weight_bytes
        self.kv_read_bytes += cost.kv_read_bytes
        self.kv_held_bytes = max(self.kv_held_bytes, cost.kv_held_bytes)
        self.serial_forwards += cost.serial_forwards
        self.prompt_tokens += cost.prompt_tokens
        self.cached_tokens += cost.cached_tokens
        self.new_tokens += cost.new_tokens
        self.recomputed_tokens += cost.recomputed_tokens
        self.seconds += cost.seconds
        if cost.joules is not None:
            self.joules = (self.joules or 0.0) + cost.joules

    def total(self) -> Cost:
        return Cost(*(getattr(self, name) for name in COST_FIELDS))


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits for one attempt at one problem; None means no limit.

    `flops` and `tokens` (new tokens of the policy) are never exceeded: every request is capped beforehand, with the
    force-close reserved. `seconds` can only be checked as tokens arrive; the overshoot is reported.
    """

    flops: float | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("flops", "tokens", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SpecError(f"budget {name}={value!r} allows nothing; give a positive number or leave it out")

    @property
    def unlimited(self) -> bool:
        """True where nothing is limited."""
        return self.flops is None and self.tokens is None and self.seconds is None
