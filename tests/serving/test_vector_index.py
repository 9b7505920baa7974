"""The vector index: what an exact search finds, deviations, and no vectors at all."""

import numpy as np
from numpy.typing import NDArray

from serving.vector_index import VectorIndex


def unit_vectors(n: int, d: int = 4, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_inverted_lists_find_what_an_exact_search_finds() -> None:
    rng = np.random.default_rng(3)
    centres = unit_vectors(60, 32)
    vectors = centres[rng.integers(0, 60, 6000)] + 0.15 * rng.normal(size=(6000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    present = np.arange(6000) % 7 != 0
    exact = VectorIndex(vectors, present)
    lists = VectorIndex(vectors, present, exact_limit=1000)
    recalls = []
    for query in centres[:40]:
        expected, cosines = exact.nearest(query, 100)
        found, approximate = lists.nearest(query, 100)
        recalls.append(len(set(expected) & set(found)) / 100)
        assert present[found].all()
        assert np.all(np.diff(cosines) <= 0)
        assert abs(cosines[0] - approximate[0]) < 0.01
    assert np.mean(recalls) > 0.9
    assert np.mean(recalls) < 1.0, "or this test does not look at the inverted lists"


def test_deviations_are_those_of_the_whole_catalogue() -> None:
    vectors, query = unit_vectors(500, 16), unit_vectors(1, 16, seed=9)[0]
    index = VectorIndex(vectors, np.ones(500, dtype=bool))
    cosines = vectors @ query
    expected = (cosines - cosines.mean()) / cosines.std()
    some = index.moments.standardise(query, cosines[[7, 1]])
    np.testing.assert_allclose(some, expected[[7, 1]], atol=1e-3)


def test_no_vectors_at_all_find_nothing() -> None:
    index = VectorIndex(np.zeros((3, 2), np.float32), np.zeros(3, dtype=bool))
    rows, cosines = index.nearest(np.ones(2, np.float32), 5)
    assert (len(rows), len(cosines)) == (0, 0)
    assert index.moments.standardise(np.ones(2, np.float32), np.ones(2)).tolist() == [0, 0]
