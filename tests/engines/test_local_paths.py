"""Who holds which slot: longest prefixes, taking over and copying, eviction of the least recently used, recomputing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isoflop.engines.local_paths import Paths, SearchPaths, Tokens


def array(*tokens: int) -> Tokens:
    return np.array(tokens, dtype=np.int32)


def fill(paths: Paths, search: SearchPaths, *tokens: int) -> int:
    """Compute a path and let it rest; returns its slot."""
    claim = paths.claim(search, array(*tokens), ready=False)
    assert claim is not None
    paths.held[claim.slot] = len(tokens)
    paths.rest(claim.slot)
    return claim.slot


def test_the_first_child_takes_over_and_the_second_copies() -> None:
    paths = Paths(slots=3, slot_tokens=8)
    search = paths.search("a")
    parent = fill(paths, search, 1, 2)
    first = paths.claim(search, array(1, 2, 3), ready=False)
    second = paths.claim(search, array(1, 2, 4), ready=False)
    assert first is not None
    assert (first.slot, first.source, first.start) == (parent, None, 2)
    assert second is not None
    assert (second.source, second.start) == (parent, 2)
    assert second.slot != parent


def test_at_least_one_token_is_computed_unless_the_hidden_state_is_known() -> None:
    paths = Paths(slots=2, slot_tokens=8)
    search = paths.search("a")
    fill(paths, search, 1, 2)
    claim = paths.claim(search, array(1, 2), ready=False)
    assert claim is not None
    assert claim.start == 1
    paths.held[claim.slot] = 2
    paths.rest(claim.slot)
    ready = paths.claim(search, array(1, 2), ready=True)
    assert ready is not None
    assert ready.start == 2


def test_searches_do_not_see_each_other() -> None:
    paths = Paths(slots=2, slot_tokens=8)
    fill(paths, paths.search("a"), 1, 2, 3)
    claim = paths.claim(paths.search("b"), array(1, 2, 3), ready=False)
    assert claim is not None
    assert (claim.start, claim.source) == (0, None)


def test_the_least_recently_used_goes_and_comes_back_as_recomputed() -> None:
    paths = Paths(slots=2, slot_tokens=8)
    search = paths.search("a")
    oldest = fill(paths, search, 1, 2, 3)
    fill(paths, search, 1, 2, 4)
    other = paths.claim(paths.search("b"), array(9, 9), ready=False)
    assert other is not None
    assert other.slot == oldest
    paths.rest(other.slot)
    again = paths.claim(search, array(1, 2, 3, 7), ready=False)
    assert again is not None
    assert (again.start, again.recomputed) == (2, 1)  # 1, 2 are held in the other slot; 3 was computed once before


def test_live_slots_are_never_given_up() -> None:
    paths = Paths(slots=1, slot_tokens=8)
    assert paths.claim(paths.search("a"), array(1), ready=False) is not None
    assert paths.claim(paths.search("b"), array(2), ready=False) is None


def test_with_one_slot_a_sibling_cuts_the_path_back() -> None:
    paths = Paths(slots=1, slot_tokens=8)
    search = paths.search("a")
    fill(paths, search, 1, 2, 3, 4)
    claim = paths.claim(search, array(1, 2, 8), ready=False)
    assert claim is not None
    assert (claim.source, claim.start) == (None, 2)


def test_release_frees_idle_slots_now_and_live_ones_when_they_rest() -> None:
    paths = Paths(slots=2, slot_tokens=8)
    search = paths.search("a")
    fill(paths, search, 1)
    live = paths.claim(search, array(5, 6), ready=False)
    assert live is not None
    paths.release("a")
    assert paths.claim(paths.search("b"), array(1), ready=False) is not None
    assert paths.claim(paths.search("b"), array(2), ready=False) is None
    paths.rest(live.slot)
    assert paths.claim(paths.search("b"), array(2), ready=False) is not None


PATHS = st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 2), min_size=1, max_size=6)), max_size=20)


@given(work=PATHS, slots=st.integers(1, 4))
def test_what_is_claimed_as_there_is_what_was_put_there(work: list[tuple[str, list[int]]], slots: int) -> None:
    """A naive copy of the cache, moved as the claims say, holds the right prefix every time."""
    paths = Paths(slots, slot_tokens=8)
    cache: list[list[int]] = [[] for _ in range(slots)]
    computed: dict[str, set[tuple[int, ...]]] = {"a": set(), "b": set()}
    for name, tokens in work:
        search = paths.search(name)
        claim = paths.claim(search, array(*tokens), ready=False)
        assert claim is not None
        if claim.source is not None:
            cache[claim.slot] = list(cache[claim.source])
        assert cache[claim.slot][: claim.start] == tokens[: claim.start]
        known = max((size for size in range(len(tokens) + 1) if tuple(tokens[:size]) in computed[name]), default=0)
        assert claim.recomputed == max(0, known - claim.start) or claim.start == len(tokens) - 1
        cache[claim.slot] = list(tokens)
        computed[name] |= {tuple(tokens[:size]) for size in range(1, len(tokens) + 1)}
        paths.held[claim.slot] = len(tokens)
        paths.rest(claim.slot)


def test_where_prompts_are_shared_a_new_search_begins_with_what_another_holds() -> None:
    paths = Paths(slots=3, slot_tokens=8, share_prompts=True)
    lender = fill(paths, paths.search("a"), 1, 2, 3)
    search = paths.search("b")
    claim = paths.claim(search, array(1, 2, 3), ready=False)
    assert claim is not None
    assert (claim.source, claim.start, claim.recomputed) == (lender, 2, 0)  # one token is computed: its state is wanted
    assert claim.slot != lender
    assert paths.longest(paths.search("a"), array(1, 2, 3)) == (lender, 3)
    paths.held[claim.slot] = 3
    assert paths.longest(search, array(1, 2, 3, 4))[0] == claim.slot  # from here on its own


def test_a_search_waits_for_a_prompt_that_is_being_read_where_much_is_alike() -> None:
    paths = Paths(slots=4, slot_tokens=40, share_prompts=True)
    one, other = paths.search("a"), paths.search("b")
    text = array(*range(30))
    assert paths.is_coming(other, text, [(one, text)])
    assert not paths.is_coming(other, array(*range(10), *range(50, 60)), [(one, text)])
    fill(paths, one, *range(30))
    assert not paths.is_coming(other, text, [(one, text)])
    alone = Paths(slots=4, slot_tokens=40)
    assert not alone.is_coming(alone.search("b"), text, [(alone.search("a"), text)])
