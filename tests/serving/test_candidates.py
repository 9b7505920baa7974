"""Candidates: nearest and popular in turns, nothing seen, as many as there are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.candidates import Catalogue


def catalogue(n: int, *, d: int = 4, seed: int = 0) -> Catalogue:
    """n items i0.. in order of popularity; every fifth has no vector."""
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    has_vector = np.arange(n) % 5 != 4
    vectors[~has_vector] = 0
    return Catalogue([f"i{i}" for i in range(n)], vectors, has_vector)


def test_without_a_query_the_popular_come_in_order() -> None:
    assert catalogue(10).candidates([], {"i1"}, 3) == ["i0", "i2", "i3"]


def test_the_nearest_item_comes_first() -> None:
    items = catalogue(50)
    assert items.candidates([items.vectors[33]], set(), 5)[0] == "i33"


def test_an_item_without_a_vector_is_only_reached_as_popular() -> None:
    items = catalogue(30)
    query = np.zeros(4, dtype=np.float32)
    query[0] = 1.0
    nearest = items.candidates([query], set(), 30)
    assert sorted(nearest) == sorted(items.item_ids), "every item has its turn in the end"


@given(
    n=st.integers(1, 40),
    wanted=st.integers(1, 50),
    n_queries=st.integers(0, 3),
    seen=st.sets(st.integers(0, 39)),
)
def test_always_as_many_as_the_catalogue_has(
    n: int, wanted: int, n_queries: int, seen: set[int]
) -> None:
    items = catalogue(n)
    queries = list(items.vectors[:n_queries])
    known = {f"i{i}" for i in seen}
    found = items.candidates(queries, known, wanted)
    assert len(found) == len(set(found)) == min(wanted, len(set(items.item_ids) - known))
    assert known.isdisjoint(found)
