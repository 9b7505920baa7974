"""Nearest neighbours from the vectors that Redis holds."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feast import Entity, Field, ValueType
from feast.types import Array, Float32, Int64, String

from cli.redis_process import RunningRedis
from feast_fusion.online.refusals import RefusedRequestError
from feast_fusion.online.search.distances import Metric, Query
from tests.feast_fusion.online.online_repo import NOW, Pair, online, open_pair, view_of, write

WIDTH = 16
ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
VECTORS = view_of(
    "vectors",
    [ITEM],
    {"item_id": Int64},
    [
        Field(name="emb", dtype=Array(Float32), vector_index=True, vector_length=WIDTH),
        Field(name="title", dtype=String),
    ],
    ttl=timedelta(days=1),
)
TITLES = view_of("titles", [ITEM], {"item_id": Int64}, [Field(name="title", dtype=String)])


@pytest.fixture
def pair(server: RunningRedis, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    options = {"search_refresh_s": 0, **getattr(request, "param", {})}
    opened = open_pair(tmp_path, server, **options)
    opened.apply(ITEM, VECTORS, TITLES)
    yield opened
    opened.ours.teardown()
    opened.close()


def clustered(n: int, seed: int = 0) -> Any:
    """(n, WIDTH) float32 around 40 centres, as texts are about some things."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, WIDTH))
    found = centres[rng.integers(0, 40, n)] + 0.4 * rng.normal(size=(n, WIDTH))
    return found.astype(np.float32)


def store_vectors(pair: Pair, vectors: Any, at: Any = NOW, first: int = 0) -> None:
    rows: list[Any] = [
        ({"item_id": first + i}, {"emb": v.tolist(), "title": f"t{first + i}"}, at, None)
        for i, v in enumerate(vectors)
    ]
    write(pair.ours, VECTORS, rows)


def nearest(pair: Pair, query: Any, k: int, metric: str = "L2") -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pair.ours.retrieve_online_documents_v2(
        ["vectors:title", "vectors:emb"], top_k=k, query=query.tolist(), distance_metric=metric
    ).to_dict()
    return found


def truth(vectors: Any, query: Any, k: int, metric: str) -> tuple[list[int], list[float]]:
    """The nearest by a loop over all, and their distances."""
    away = []
    for vector in vectors.astype(float):
        if metric == "L2":
            away.append(float(np.sqrt(((vector - query) ** 2).sum())))
        elif metric == "cosine":
            cosine = vector @ query / np.sqrt((vector @ vector) * (query @ query))
            away.append(float(1 - cosine))
        else:
            away.append(float(-(vector @ query)))
    order = sorted(range(len(away)), key=away.__getitem__)[:k]
    return order, [away[at] for at in order]


@pytest.mark.parametrize("metric", ["L2", "cosine", "inner_product"])
@pytest.mark.parametrize(
    "pair", [{}, *({"vector_encoding": form} for form in ("float16", "int8"))], indirect=True
)
def test_the_nearest_come_first_with_their_own_features(pair: Pair, metric: str) -> None:
    vectors = clustered(300)
    store_vectors(pair, vectors)
    query = clustered(1, seed=1)[0]
    found = nearest(pair, query, 7, metric)
    items, away = truth(vectors, query.astype(float), 7, metric)
    assert found["item_id"] == items
    assert found["title"] == [f"t{item}" for item in items]
    assert found["__rank"] == list(range(7))
    np.testing.assert_allclose(found["distance"], away, rtol=2e-2)
    np.testing.assert_allclose(found["emb"], vectors[items], atol=2e-2)


def test_what_is_written_changed_expired_or_deleted_is_so_at_the_next_search(pair: Pair) -> None:
    vectors = clustered(50)
    store_vectors(pair, vectors)
    query = vectors[10]
    assert nearest(pair, query, 1)["item_id"] == [10]
    late = NOW + timedelta(seconds=1)
    store_vectors(pair, [-query], late, first=10)  # changed
    left = vectors.copy()
    left[10] = -query
    assert nearest(pair, query, 5)["item_id"] == truth(left, query, 5, "L2")[0]
    store_vectors(pair, [query], late, first=500)  # new
    assert nearest(pair, query, 1)["item_id"] == [500]
    store_vectors(pair, [query], NOW - timedelta(days=2), first=600)  # expired
    assert nearest(pair, query, 1)["item_id"] == [500]
    store = online(pair.ours)
    store.delete_table(pair.ours.config, VECTORS)
    assert nearest(pair, query, 1).get("item_id", []) == []
    store_vectors(pair, vectors[:3])
    assert sorted(nearest(pair, query, 9)["item_id"]) == [0, 1, 2]


def test_a_missing_vector_is_not_found_until_it_is_there(pair: Pair) -> None:
    rows: list[Any] = [({"item_id": 1}, {"emb": None, "title": "a"}, NOW, None)]
    write(pair.ours, VECTORS, rows)
    query = clustered(1)[0]
    assert nearest(pair, query, 3).get("item_id", []) == []
    store_vectors(pair, [query], NOW + timedelta(seconds=1), first=1)
    assert nearest(pair, query, 3)["item_id"] == [1]


@pytest.mark.parametrize("metric", ["L2", "cosine", "inner_product"])
@pytest.mark.parametrize(
    "pair", [{"search_exact_rows": 1_000, "search_refresh_s": 3_600}], indirect=True
)
def test_recall_of_many(pair: Pair, metric: str) -> None:
    vectors = clustered(4_000)
    store_vectors(pair, vectors)
    queries = clustered(40, seed=2)
    hits = 0
    for query in queries:
        hits += len(
            {*nearest(pair, query, 10, metric)["item_id"]} & {*exact(vectors, query, metric)}
        )
    recall = hits / (10 * len(queries))
    assert recall >= 0.95, recall
    # A row that the lists do not know is compared with the query by itself.
    store_vectors(pair, [3 * queries[0]], NOW, first=9_000)
    assert 9_000 not in nearest(pair, 3 * queries[0], 1, metric)["item_id"]
    pair.ours.config.online_store.search_refresh_s = 0
    found = nearest(pair, 3 * queries[0], 1, metric)
    assert found["item_id"] == [9_000]


@pytest.mark.parametrize("pair", [{"search_exact_rows": 100}], indirect=True)
def test_without_faiss_many_are_compared_one_by_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # as an import of what is not installed
    vectors = clustered(300)
    store_vectors(pair, vectors)
    for query in clustered(3, seed=3):
        assert nearest(pair, query, 10)["item_id"] == exact(vectors, query, "L2")
    assert caplog.text.count("pip install 'feast-fusion[search]'") == 1


def exact(vectors: Any, query: Any, metric: str) -> list[int]:
    found: list[int] = np.argsort(Query(query, Metric(metric)).distances(vectors))[:10].tolist()
    return found


def test_what_cannot_be_searched_is_refused(pair: Pair) -> None:
    store = pair.ours
    store_vectors(pair, clustered(3))
    ask: Any = store.retrieve_online_documents_v2
    with pytest.raises(RefusedRequestError, match=r"'vectors', query: got .*, expected 16"):
        ask(["vectors:title"], top_k=1, query=[1.0, 2.0])
    with pytest.raises(RefusedRequestError, match="expected 16 finite"):
        ask(["vectors:title"], top_k=1, query=[float("nan")] * WIDTH)
    with pytest.raises(RefusedRequestError, match="'titles': got 0 vectors"):
        ask(["titles:title"], top_k=1, query=[1.0])
    with pytest.raises(RefusedRequestError, match="distance_metric: got 'hamming'"):
        ask(["vectors:title"], top_k=1, query=[1.0] * WIDTH, distance_metric="hamming")
    with pytest.raises(RefusedRequestError, match="query_string"):
        ask(["vectors:title"], top_k=1, query_string="a text")
