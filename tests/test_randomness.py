"""Random numbers depend on (seed, problem, path, position) and on nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isoflop.randomness import stream_key, uniform, uniforms

keys = st.integers(0, 2**64 - 1)


@given(st.lists(st.tuples(keys, st.integers(0, 10**6)), min_size=1, max_size=20))
def test_the_vectorised_numbers_are_the_single_ones(pairs):
    together = uniforms(
        np.array([k for k, _ in pairs], dtype=np.uint64), np.array([p for _, p in pairs], dtype=np.uint64)
    )
    assert together.tolist() == [uniform(key, position) for key, position in pairs]


def test_numbers_are_uniform_and_streams_unrelated():
    streams = np.array([stream_key(0, "p", (i,)) for i in range(64)], dtype=np.uint64)
    draws = np.stack([uniforms(streams, np.full(64, position, dtype=np.uint64)) for position in range(500)])
    assert draws.min() >= 0
    assert draws.max() < 1
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    expected = draws.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-square, 19 degrees of freedom, p > 0.0005
    correlation = np.corrcoef(draws.T)
    assert np.abs(correlation - np.eye(64)).max() < 0.2
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.03


def test_the_first_child_goes_on_with_its_parents_stream_and_siblings_do_not():
    assert stream_key(0, "p", (2, 0, 0)) == stream_key(0, "p", (2,))
    assert len({stream_key(0, "p", (2, i)) for i in range(50)}) == 50


def test_seed_problem_and_path_all_matter():
    distinct = {stream_key(seed, problem, path) for seed in range(3) for problem in "ab" for path in [(), (1,), (1, 1)]}
    assert len(distinct) == 18
