"""One spelling for everything: what is typed, parsed, shown and stored is the same text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop import specs
from isoflop.errors import SpecError
from isoflop.search.rebase import Rebase


def test_a_spelling_is_parsed_and_spelled_back():
    strategy = specs.parse("strategy", "rebase(width=8, balance=ceil)")
    assert strategy == Rebase(width=8, balance="ceil")
    assert specs.parse("strategy", str(strategy)) == strategy


@given(
    width=st.integers(1, 512),
    temperature=st.floats(1e-3, 10),
    balance=st.sampled_from(["round", "ceil", "systematic", "multinomial"]),
    vote=st.sampled_from(["majority", "weighted", "best"]),
)
def test_every_value_survives_spelling(width, temperature, balance, vote):
    strategy = Rebase(width=width, temperature=temperature, balance=balance, vote=vote)
    assert specs.parse("strategy", str(strategy)) == strategy


def test_only_what_differs_from_the_defaults_is_spelled():
    assert str(Rebase(width=4)) == "rebase(width=4)"


def test_positional_values_take_the_fields_in_order():
    assert specs.parse("strategy", "rebase(8)") == Rebase(width=8)


def test_a_list_makes_a_family_and_two_lists_their_product():
    assert [s.width for s in specs.expand("strategy", "rebase(width=[2, 4, 8])")] == [2, 4, 8]
    assert len(specs.expand("strategy", "beam(width=[1, 2], expand=[2, 4, 8])")) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rebas(width=8)", "'rebas' is unknown; did you mean 'rebase'"),
        ("rebase(widht=8)", "no field 'widht'; did you mean 'width'"),
        ("rebase()", "needs width"),
        ("rebase(width='8')", "'8' is not allowed here; wanted int"),
        ("rebase(width=True)", "True is not allowed here; wanted int"),
        ("rebase(width=0)", "at least 1"),
        ("rebase(width=8, balance=floor)", "'floor' is not allowed here; wanted 'round' | 'ceil'"),
        ("rebase(8, width=8)", "width is given twice"),
        ("rebase(width=[])", "the list is empty"),
        ("rebase(width=8", "not of the form name\\(key=value\\)"),
        ("__import__('os').system('true')", "not of the form"),
        ("rebase(width=__import__('os'))", "not a plain value"),
        ("(" * 5000, "not of the form"),
    ],
)
def test_mistakes_are_answered_with_the_fix(text, message):
    with pytest.raises(SpecError, match=message):
        specs.parse("strategy", text)


def test_a_family_is_no_single_spec():
    with pytest.raises(SpecError, match="spells 2 values"):
        specs.parse("strategy", "rebase(width=[1, 2])")


@pytest.mark.parametrize("family", list(specs.FAMILIES))
def test_every_registered_name_loads_a_class_of_that_name(family):
    for name in specs.names(family):
        cls = specs.load_class(family, name)
        assert cls.spec_name == name
        assert cls.__doc__
