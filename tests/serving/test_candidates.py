"""Candidates: sources in turns, nothing seen, as many as there are, from a current catalogue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from feast_fusion.errors import FeatureNotFoundError
from intake.workspace import Workspace, open_workspace
from serving.candidates import FRESH_EVERY, POPULAR, Candidates, gather_candidates, list_sources
from serving.catalogue import Catalogue, load_catalogue
from serving.catalogue_watch import CatalogueWatch
from serving.seen_items import SeenItems, load_seen_items
from serving.vector_index import VectorIndex
from tests.datasets import make_films
from tests.waiting import wait_until
from transformations.id_map import IdMap
from transformations.prepared_sources import write_sources

NOBODY = SeenItems(IdMap.of([]), np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
NOTHING = np.zeros(0, dtype=np.int64)
D = 4


def unit_vectors(n: int, d: int = D, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_catalogue(n: int, vectors: NDArray[np.float32] | None = None) -> Catalogue:
    """n items i0.. in order of popularity, the last the newest; every fifth has no vector."""
    vectors = unit_vectors(n) if vectors is None else vectors
    present = np.arange(n) % 5 != 4
    return Catalogue(
        items=IdMap(pa.array([f"i{i}" for i in range(n)])),
        titles=[f"Item {i}" for i in range(n)],
        popularity=np.linspace(0.9, 0.1, n, dtype=np.float32),
        acted_on=np.ones(n, dtype=bool),
        fresh=np.arange(n)[::-1].copy(),
        index=VectorIndex(vectors * present[:, None], present),
        seen=NOBODY,
    )


def gather(
    items: Catalogue, queries: dict[str, NDArray[np.float32]], seen: NDArray[np.int64], n: int
) -> Candidates:
    return gather_candidates(items, list_sources(items, queries, n), seen, n)


def merge_one_by_one(found: Candidates, n: int, *, skip: int = 0) -> list[int]:
    """The slow version: sources are asked in turn for their next row. `skip` plants a bug."""
    chosen: list[int] = []
    for turn in range(max(len(order) for order in found.orders.values()) * FRESH_EVERY):
        for name, order in found.orders.items():
            every = FRESH_EVERY if name == "fresh" else 1
            at = turn // every + skip
            if turn % every == 0 and at < len(order) and order[at] not in chosen:
                chosen.append(int(order[at]))
    return chosen[:n]


def test_without_a_query_the_popular_come_in_order() -> None:
    found = gather(make_catalogue(10), {}, np.array([1]), 3)
    assert found.item_ids == ["i0", "i2", "i3"]
    assert found.sources(0) == (POPULAR,)


def test_the_nearest_item_comes_first_and_says_so() -> None:
    items = make_catalogue(50)
    found = gather(items, {"interest": items.index.vectors[33]}, NOTHING, 5)
    assert found.item_ids[0] == "i33"
    assert found.sources(0) == ("interest",)


def test_an_item_without_a_vector_is_reached_by_other_sources_only() -> None:
    items = make_catalogue(30)
    found = gather(items, {"query": items.index.vectors[0]}, NOTHING, 30)
    assert sorted(found.item_ids) == sorted(items.item_ids), "every item has its turn in the end"
    for at, item_id in enumerate(found.item_ids):
        assert ("query" in found.sources(at)) <= (int(item_id[1:]) % 5 != 4)


def test_the_newest_item_is_a_candidate_however_unpopular() -> None:
    found = gather(make_catalogue(1000), {}, NOTHING, 100)
    newest = [item_id for at, item_id in enumerate(found.item_ids) if "fresh" in found.sources(at)]
    assert newest[0] == "i999"
    assert len(newest) in (9, 10), f"one turn of {FRESH_EVERY}"


def test_each_source_keeps_its_best() -> None:
    items = make_catalogue(600)
    queries = {"interest": items.index.vectors[1], "behaviour": items.index.vectors[2]}
    seen = np.arange(0, 600, 3)
    found = gather(items, queries, seen, 90)
    for query in queries.values():
        nearest = [row for row in items.index.nearest(query, 600)[0] if row % 3][:25]
        assert set(nearest) <= set(found.rows.tolist())


@given(
    n=st.integers(1, 40),
    wanted=st.integers(1, 50),
    n_queries=st.integers(0, 3),
    seen=st.sets(st.integers(0, 39)),
)
def test_always_as_many_as_the_catalogue_has(
    n: int, wanted: int, n_queries: int, seen: set[int]
) -> None:
    items = make_catalogue(n)
    names = ("interest", "behaviour", "query")[:n_queries]
    queries = {name: items.index.vectors[at % n] for at, name in enumerate(names)}
    known = np.array([row for row in seen if row < n], dtype=np.int64)
    found = gather(items, queries, known, wanted)
    assert len(found) == len(set(found.item_ids)) == min(wanted, n - len(known))
    assert set(known.tolist()).isdisjoint(found.rows.tolist())
    assert all(found.sources(at) for at in range(len(found)))
    assert found.rows.tolist() == merge_one_by_one(found, wanted)


def test_the_merge_oracle_notices_a_lost_turn() -> None:
    found = gather(make_catalogue(40), {"query": unit_vectors(1)[0]}, NOTHING, 20)
    assert found.rows.tolist() != merge_one_by_one(found, 20, skip=1)


def test_named_items_are_kept_once_and_unknown_ones_too() -> None:
    named = Candidates.named(make_catalogue(3), ["i2", "?", "i2", "i0"])
    assert (named.item_ids, named.rows.tolist()) == (["i2", "?", "i0"], [2, -1, 0])
    assert named.sources(0) == ()


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


def test_seen_items_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    users = [f"u{i}" for i in rng.integers(0, 20, 400)]
    items = [f"i{i}" for i in rng.integers(0, 30, 400)]
    path = tmp_path / "interactions.parquet"
    pl.DataFrame({"user_id": users, "item_id": items}).write_parquet(path)
    catalogue = [f"i{i}" for i in range(25)]  # five items have been withdrawn
    seen = load_seen_items(path, IdMap(pa.array(catalogue)))
    for user in [*set(users), "nobody"]:
        pairs = zip(users, items, strict=True)
        expected = {catalogue.index(item) for u, item in pairs if u == user and item in catalogue}
        found = seen.of(user).tolist()
        assert len(found) == len(set(found))
        assert set(found) == expected


@pytest.fixture
def prepared(tmp_path: Path) -> Workspace:
    """A prepared data set with vectors in a sink; film f3 has two versions, f4 an emptied one."""
    workspace = open_workspace(make_films(tmp_path / "data", n_events=300), tmp_path / "home")
    write_sources(workspace)
    rows = [(f"f{i}", 0, unit_vectors(80)[i].tolist()) for i in range(80)]
    rows += [
        ("f3", 1, unit_vectors(1, seed=8)[0].tolist()),
        ("f4", 1, None),
        ("gone", 0, [1.0] * D),
    ]
    write_part(workspace, "0", rows)
    return workspace


def write_part(
    workspace: Workspace, name: str, rows: list[tuple[str, int, list[float] | None]]
) -> None:
    """One more file of the sink of encoder "e", complete when it has its name."""
    folder = workspace.sinks / "item_embedding__e"
    folder.mkdir(parents=True, exist_ok=True)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    pl.DataFrame(
        {
            "item_id": [item_id for item_id, _, _ in rows],
            "event_timestamp": [start + timedelta(days=day) for _, day, _ in rows],
            "item_embedding": pl.Series([v for _, _, v in rows], dtype=pl.List(pl.Float32)),
        }
    ).write_parquet(folder / f".{name}.tmp")
    (folder / f".{name}.tmp").rename(folder / f"part-{name}.parquet")


def test_the_catalogue_has_the_newest_of_everything(prepared: Workspace) -> None:
    items = load_catalogue(prepared, "e", D)
    assert sorted(items.item_ids) == sorted(f"f{i}" for i in range(80))
    events = pl.read_parquet(prepared.sources / "interactions.parquet")
    liked = dict(events.group_by("item_id").agg(pl.col("positive").sum()).iter_rows())
    counts = [liked.get(item_id, 0) for item_id in items.item_ids]
    assert counts == sorted(counts, reverse=True)
    assert np.all(np.diff(items.popularity) <= 0)
    assert items.title("f7") == "Film number 7"
    assert (items.title("?"), items.vector("?"), items.vector("f4")) == (None, None, None)
    np.testing.assert_allclose(items.vector("f3"), unit_vectors(1, seed=8)[0], atol=1e-6)
    np.testing.assert_allclose(items.vector("f5"), unit_vectors(80)[5], atol=1e-6)
    seen = {items.item_ids[row] for row in items.seen.of("u1")}
    assert seen == set(events.filter(pl.col("user_id") == "u1")["item_id"])


def test_without_vectors_there_is_still_a_catalogue(prepared: Workspace) -> None:
    items = load_catalogue(prepared, None, 0)
    assert len(items) == 80
    assert not items.index.present.any()


def test_an_unprepared_workspace_is_refused_with_the_remedy(tmp_path: Path) -> None:
    workspace = open_workspace(make_films(tmp_path / "data", n_events=10), tmp_path / "home")
    with pytest.raises(FeatureNotFoundError, match="feast-fusion prepare"):
        load_catalogue(workspace, None, 0)


def test_new_items_and_new_vectors_appear_without_a_restart(prepared: Workspace) -> None:
    with CatalogueWatch(prepared, "e", D, refresh_s=0.05) as watch:
        before = watch.current
        write_part(prepared, "1", [("f9", 2, [0.0, 0.0, 0.0, 1.0])])
        wait_until(lambda: watch.current is not before)
        np.testing.assert_array_equal(watch.current.vector("f9"), [0, 0, 0, 1])
        path = prepared.dataset.items.path
        items = pl.read_parquet(path)
        new = items.filter(pl.col("item_id") == "f1").with_columns(
            item_id=pl.lit("new"), event_timestamp=pl.col("event_timestamp").max() + timedelta(1)
        )
        pl.concat([items, new]).write_parquet(path)
        write_sources(prepared)
        wait_until(lambda: "new" in watch.current.items)
        assert watch.current.item_ids[watch.current.fresh[0]] == "new"
        assert before.title("new") is None, "an answer under way keeps its catalogue"


def test_a_catalogue_that_cannot_be_loaded_leaves_the_old_one(
    prepared: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    with CatalogueWatch(prepared, "e", D, refresh_s=0.05) as watch:
        before = watch.current
        damaged = prepared.sinks / "item_embedding__e" / "part-2.parquet"
        damaged.write_bytes(b"not a Parquet file")
        wait_until(lambda: "kept the old one" in caplog.text)
        assert watch.current is before
        damaged.unlink()
        write_part(prepared, "3", [("f9", 2, [0.0, 1.0, 0.0, 0.0])])
        wait_until(lambda: watch.current is not before)
