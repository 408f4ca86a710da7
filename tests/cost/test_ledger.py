"""The ledger adds every charge once, keeps roles apart, and a missing meter stays missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.cost.ledger import COST_FIELDS, Budget, Cost, Ledger
from isoflop.errors import SpecError

costs = st.builds(
    Cost,
    **{name: st.integers(0, 2**40) for name in COST_FIELDS if name not in ("seconds", "joules")},
    seconds=st.floats(0, 1e6),
    joules=st.none() | st.floats(0, 1e6),
)


@given(st.lists(st.tuples(st.sampled_from(["policy", "thought", "reward"]), costs), max_size=12))
def test_a_ledger_holds_the_sum_of_its_charges(charges):
    ledger = Ledger()
    for role, cost in charges:
        ledger.charge(role, cost)
    assert ledger.entries == len(charges)
    for role, total in ledger.by_role().items():
        assert total == sum((cost for charged, cost in charges if charged == role), Cost())


def test_a_peak_takes_the_larger_and_everything_else_adds():
    total = Cost(prefill_flops=2, kv_held_bytes=7, new_tokens=1) + Cost(decode_flops=3, kv_held_bytes=5, new_tokens=4)
    assert (total.flops, total.kv_held_bytes, total.new_tokens) == (5, 7, 5)


def test_energy_that_nobody_measured_is_not_zero():
    assert (Cost() + Cost()).joules is None
    assert (Cost(joules=2.0) + Cost()).joules == 2.0


def test_an_unknown_role_is_refused_with_the_roles_there_are():
    with pytest.raises(SpecError, match="'verifier' is unknown; allowed: policy, thought, reward"):
        Ledger().charge("verifier", Cost())


def test_costs_survive_the_store():
    cost = Cost(prefill_flops=1, seconds=0.5, joules=None)
    assert Cost.from_dict(cost.to_dict()) == cost


@pytest.mark.parametrize("limits", [{"tokens": 0}, {"flops": -1.0}, {"seconds": 0.0}])
def test_a_budget_that_allows_nothing_is_refused(limits):
    with pytest.raises(SpecError, match="allows nothing"):
        Budget(**limits)
