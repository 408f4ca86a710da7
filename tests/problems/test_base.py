"""Problem sets in general: ids, limits, shuffles and the splits that a set has."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop import specs
from isoflop.core import Problem
from isoflop.errors import ProblemError, SpecError
from isoflop.problems.base import ProblemSet, refuse_duplicates, shuffled


class Numbered(ProblemSet):
    """Ten problems in test, and in dev two that share an id."""

    spec_name = "numbered"

    def read(self, split):
        if split == "dev":
            return [Problem("same", "a?"), Problem("same", "b?")]
        return [Problem(f"numbered/{index}", f"{index}?", str(index)) for index in range(10)]


@given(count=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_a_shuffle_loses_nothing_and_repeats_itself(count: int, seed: int) -> None:
    problems = tuple(Problem(str(index), "?") for index in range(count))
    assert sorted(shuffled(problems, seed), key=lambda one: int(one.id)) == list(problems)
    assert shuffled(problems, seed) == shuffled(problems, seed)


@given(limit=st.integers(1, 15), seed=st.none() | st.integers(0, 1000))
def test_a_smaller_limit_is_a_prefix_and_ids_do_not_depend_on_the_order(limit: int, seed: int | None) -> None:
    everything = Numbered(seed=seed).load("test")
    assert Numbered(limit=limit, seed=seed).load("test") == everything[:limit]
    assert {problem.id: problem.answer for problem in everything} == {f"numbered/{i}": str(i) for i in range(10)}


def test_the_shuffle_is_that_of_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"index": list(range(100))}).shuffle(seed=42)
    problems = tuple(Problem(str(index), "?") for index in range(100))
    assert [int(problem.id) for problem in shuffled(problems, 42)] == rows["index"][:]


def test_duplicate_ids_unknown_splits_and_silly_values_are_refused() -> None:
    with pytest.raises(ProblemError, match=r"numbered\(\) dev: id 'same' occurs twice"):
        Numbered().load("dev")
    with pytest.raises(ProblemError, match="split 'train' is unknown; allowed: dev, test"):
        Numbered().load("train")
    with pytest.raises(SpecError, match="limit=0 must be at least 1"):
        Numbered(limit=0)
    with pytest.raises(SpecError, match="seed=-1"):
        replace(Numbered(), seed=-1)


@given(ids=st.lists(st.text(max_size=3), max_size=12))
def test_duplicates_are_found_exactly_where_there_are_some(ids: list[str]) -> None:
    if len(set(ids)) == len(ids):
        refuse_duplicates(ids, "here")
    else:
        with pytest.raises(ProblemError, match="occurs twice"):
            refuse_duplicates(ids, "here")


def test_every_registered_set_and_prompt_is_found_by_its_own_name() -> None:
    for family in ("problems", "prompt"):
        for name in specs.names(family):
            assert specs.load_class(family, name).spec_name == name
            assert specs.load_class(family, name).spec_family == family


def test_the_path_comes_first_in_a_spelling_and_the_spelling_round_trips(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "1?", "answer": "1"}))
    text = f"jsonl({str(tmp_path / 'a.jsonl')!r}, limit=3)"
    problems = specs.parse("problems", text)
    assert [problem.id for problem in problems.load("test")] == ["a/test/0"]
    assert specs.parse("problems", str(problems)) == problems
    with pytest.raises(SpecError, match="takes at most 5 values"):
        specs.parse("problems", "jsonl('a', 'b', 'c', 'd', 'e', 3)")
