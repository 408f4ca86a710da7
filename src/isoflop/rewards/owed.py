"""What was computed for a search and could not be told it, as another search's reward failed in the same call.

The driver then asks again, search by search; a reward that remembers computes nothing twice, and what it did before is
told with the next scores, or, where the search's own scoring failed, when the driver asks for it. It is not a ledger of
what a search spent: `search/book.py` keeps that.

    owed.keep(["a", "b"], [{"reward": first}, {"reward": second}])
    owed.settle(["a"], [{}])                                          # ({"reward": first},)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isoflop.cost.ledger import Cost, Ledger, Role


class Owed:
    """Costs by search."""

    def __init__(self) -> None:
        self._by_search: dict[str, Ledger] = {}

    def keep(self, searches: Sequence[str], costs: Sequence[Mapping[Role, Cost]]) -> None:
        """Remember what each search has to be told."""
        for search, cost in zip(searches, costs, strict=True):
            self._by_search.setdefault(search, Ledger()).charge_all(cost)

    def settle(self, searches: Sequence[str], costs: Sequence[Mapping[Role, Cost]]) -> tuple[Mapping[Role, Cost], ...]:
        """The costs, with what each search is owed on its first one."""
        return tuple(self._with_owed(*each) for each in zip(searches, costs, strict=True))

    def take(self, search: str) -> Mapping[Role, Cost]:
        """What the search is owed, told here and no more."""
        owed = self._by_search.pop(search, None)
        return {} if owed is None else owed.by_role()

    def _with_owed(self, search: str, cost: Mapping[Role, Cost]) -> Mapping[Role, Cost]:
        owed = self._by_search.pop(search, None)
        if owed is None:
            return cost
        owed.charge_all(cost)
        return owed.by_role()
