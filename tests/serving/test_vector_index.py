"""The vector index: what an exact search finds, also through a graph and a filter; deviations."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.graph.placed_graph import PlacedGraph
from serving.graph.vector_graph import VectorGraph
from serving.vector_index import Rows, VectorIndex, Vectors
from tests.serving.graph.clustered import WIDTH, N, clustered, ids_of, keyed

K = 100
QUERIES = clustered(40, seed=9)
N_CHANGED, N_GONE, N_NEW = 50, 30, 20


@pytest.fixture(scope="module")
def placed(graph: VectorGraph) -> VectorIndex:
    """A graph under a catalogue in another order, where some changed, are gone, and are new."""
    vectors = clustered()
    vectors[:N_CHANGED] = QUERIES[0]
    vectors = np.concatenate([vectors, clustered(N_NEW, seed=2)])
    rows = np.delete(np.arange(len(vectors)), np.arange(N - N_GONE, N))
    rows = np.random.default_rng(4).permutation(rows)
    ids = np.array(ids_of(vectors))[rows].tolist()
    index = VectorIndex.of(vectors[rows], np.ones(len(rows), dtype=bool))
    return replace(index, placed=PlacedGraph.of(graph, keyed(vectors[rows], ids)))


def nearest_of_all(
    index: VectorIndex, query: Vectors, allowed: NDArray[np.bool_] | None = None
) -> Rows:
    """The K nearest by a full sort."""
    cosines = index.vectors @ query
    usable = index.present if allowed is None else index.present & allowed
    order = np.argsort(-cosines)
    return order[usable[order]][:K]


def recall(
    index: VectorIndex, queries: Vectors = QUERIES, allowed: NDArray[np.bool_] | None = None
) -> float:
    shares = []
    for query in queries:
        rows, cosines = index.nearest(query, K, allowed)
        expected = nearest_of_all(index, query, allowed)
        assert len(set(rows)) == len(rows) == len(expected)
        assert np.all(rows >= 0)
        assert allowed is None or allowed[rows].all()
        assert np.all(np.diff(cosines) <= 0)
        np.testing.assert_allclose(cosines, index.vectors[rows] @ query, atol=1e-6)
        shares.append(len(np.intersect1d(rows, expected)) / len(expected))
    return float(np.mean(shares))


def test_a_graph_finds_what_is_nearest(placed: VectorIndex) -> None:
    assert 0.95 < recall(placed, QUERIES[1:]) < 1.0, "1 if this test does not look at the graph"


def test_what_changed_is_found_at_once_where_it_is_now(placed: VectorIndex) -> None:
    assert placed.placed is not None
    assert len(placed.placed.rest) == N_CHANGED + N_NEW
    assert (placed.placed.row_at < 0).sum() == N_CHANGED + N_GONE
    rows, cosines = placed.nearest(QUERIES[0], N_CHANGED)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-6)
    assert sorted(rows) == sorted(nearest_of_all(placed, QUERIES[0])[:N_CHANGED])


def test_what_is_gone_is_not_found_nor_taken_for_the_last_row(graph: VectorGraph) -> None:
    vectors = clustered()
    nearest = np.argsort(-(vectors @ vectors[0]))
    rows = nearest[N_GONE:][::-1]
    rows = np.append(rows, nearest[0])  # what is nearest to the query is the last row
    ids = np.array(ids_of(vectors))[rows].tolist()
    index = VectorIndex.of(vectors[rows], np.ones(len(rows), dtype=bool))
    index = replace(index, placed=PlacedGraph.of(graph, keyed(vectors[rows], ids)))
    assert recall(index, vectors[:1]) > 0.95


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_of_many_allowed_rows_most_of_the_nearest_are_found(
    placed: VectorIndex, share: float
) -> None:
    allowed = np.random.default_rng(5).random(len(placed.vectors)) < share
    assert recall(placed, QUERIES, allowed) > 0.95


@pytest.mark.parametrize("n_allowed", [0, 1, 20, 200])
def test_of_few_allowed_rows_all_of_the_nearest_are_found(
    placed: VectorIndex, n_allowed: int
) -> None:
    allowed = np.zeros(len(placed.vectors), dtype=bool)
    allowed[np.random.default_rng(6).choice(len(allowed), n_allowed, replace=False)] = True
    for query in QUERIES:
        rows, _ = placed.nearest(query, K, allowed)
        assert rows.tolist() == nearest_of_all(placed, query, allowed).tolist()


def test_rows_that_are_all_far_from_the_query_fill_the_answer(placed: VectorIndex) -> None:
    for query in QUERIES[:5]:
        cosines = placed.vectors @ query
        allowed = cosines < np.median(cosines)
        rows, _ = placed.nearest(query, K, allowed)
        expected = nearest_of_all(placed, query, allowed)
        assert len(rows) == K
        assert allowed[rows].all()
        assert len(np.intersect1d(rows, expected)) > 0.95 * K


def test_rows_without_a_vector_are_not_found() -> None:
    present = np.arange(500) % 7 != 0
    index = VectorIndex.of(clustered(500), present)
    rows, _ = index.nearest(QUERIES[0], 500)
    assert sorted(rows) == np.flatnonzero(present).tolist()
    assert recall(index) == 1.0


def test_deviations_are_those_of_the_whole_catalogue() -> None:
    vectors, query = clustered(500), QUERIES[0]
    index = VectorIndex.of(vectors, np.ones(500, dtype=bool))
    cosines = vectors @ query
    expected = (cosines - cosines.mean()) / cosines.std()
    some = index.moments.standardise(query, cosines[[7, 1]])
    np.testing.assert_allclose(some, expected[[7, 1]], atol=1e-3)


def test_no_vectors_at_all_find_nothing() -> None:
    index = VectorIndex.of(np.zeros((3, WIDTH), np.float32), np.zeros(3, dtype=bool))
    rows, cosines = index.nearest(QUERIES[0], 5)
    assert (len(rows), len(cosines)) == (0, 0)
    assert index.moments.standardise(QUERIES[0], np.ones(2)).tolist() == [0, 0]
