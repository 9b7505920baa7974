"""The catalogue: the newest of everything as history has it, followed without a restart."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureStore

from cli.feast_repository import open_store
from feast_fusion.errors import FeatureNotFoundError
from intake.workspace import Workspace, open_workspace
from serving.catalogue import Catalogue, load_catalogue
from serving.catalogue_watch import CatalogueWatch
from serving.seen_items import load_seen_items
from tests.conftest import Project
from tests.datasets import make_films
from tests.serving.http.service_process import copy_project
from tests.trained import served
from tests.waiting import wait_until
from training.next_item.model import NextItemModel
from transformations.id_map import IdMap
from transformations.names import SERVICE
from transformations.prepared_sources import write_sources

START = datetime(2024, 1, 1, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def test_seen_items_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    users = [f"u{i}" for i in rng.integers(0, 20, 400)]
    items = [f"i{i}" for i in rng.integers(0, 30, 400)]
    hours = rng.integers(0, 50, 400).tolist()
    times = [START + timedelta(hours=hour) for hour in hours]
    path = tmp_path / "interactions.parquet"
    columns = {"user_id": users, "item_id": items, "event_timestamp": times}
    pl.DataFrame(columns).write_parquet(path)
    catalogue = [f"i{i}" for i in range(25)]  # five items have been withdrawn
    seen = load_seen_items(path, IdMap(pa.array(catalogue)))
    for user in [*set(users), "nobody"]:
        pairs = zip(users, items, strict=True)
        expected = {catalogue.index(item) for u, item in pairs if u == user and item in catalogue}
        found = seen.of(user).tolist()
        assert len(found) == len(set(found))
        assert set(found) == expected
        until = START + timedelta(hours=20)
        events = zip(users, items, times, strict=True)
        early = {
            catalogue.index(item)
            for u, item, at in events
            if u == user and item in catalogue and at < until
        }
        assert set(seen.of(user, until).tolist()) == early


@pytest.fixture(scope="module")
def model(films: Project) -> NextItemModel:
    return served(films.workspace).require_next_item()


@pytest.fixture(scope="module")
def workspace(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The films, run the whole way, with sources and sinks of their own."""
    return copy_project(films, tmp_path_factory.mktemp("catalogue") / "home").workspace


@pytest.fixture(scope="module")
def store(workspace: Workspace) -> FeatureStore:
    return open_store(workspace)


def load(workspace: Workspace, store: FeatureStore, model: NextItemModel) -> Catalogue:
    return load_catalogue(workspace, store, SERVICE, model, datetime.now(UTC))


def sink_of(workspace: Workspace) -> Path:
    (folder,) = workspace.sinks.glob("item_embedding__*")
    return folder


def write_vectors(workspace: Workspace, name: str, vectors: dict[str, list[float] | None]) -> None:
    """One more file of the sink, of now, complete when it has its name."""
    folder = sink_of(workspace)
    pl.DataFrame(
        {
            "item_id": [*vectors],
            "event_timestamp": pl.Series(
                [datetime.now(UTC)] * len(vectors), dtype=pl.Datetime("us", "UTC")
            ),
            "item_embedding": pl.Series([*vectors.values()], dtype=pl.List(pl.Float32)),
        }
    ).write_parquet(folder / f".{name}.tmp")
    (folder / f".{name}.tmp").rename(folder / f"part-{name}.parquet")


def test_the_catalogue_has_the_newest_of_everything(
    workspace: Workspace, store: FeatureStore, model: NextItemModel
) -> None:
    one = np.eye(384, dtype=np.float32)[0].tolist()
    write_vectors(workspace, "new", {"f3": one, "gone": one})
    items = load(workspace, store, model)
    assert sorted(items.item_ids) == sorted(f"f{i}" for i in range(80))
    events = pl.read_parquet(workspace.sources / "interactions.parquet")
    liked = dict(events.group_by("item_id").agg(pl.col("positive").sum()).iter_rows())
    counts = [liked.get(item_id, 0) for item_id in items.item_ids]
    assert counts == sorted(counts, reverse=True)
    assert np.all(np.diff(items.popularity) <= 0)
    assert items.title("f7") == "Film number 7"
    assert (items.title("?"), items.vector("?")) == (None, None)
    np.testing.assert_array_equal(items.vector("f3"), one)
    seen = {items.item_ids[row] for row in items.seen.of("u1")}
    assert seen == set(events.filter(pl.col("user_id") == "u1")["item_id"])


def test_the_catalogue_of_the_past_knows_nothing_later(
    workspace: Workspace, store: FeatureStore, model: NextItemModel
) -> None:
    events = pl.read_parquet(workspace.sources / "interactions.parquet")
    instant = events["event_timestamp"].sort()[len(events) // 2]
    then = load_catalogue(workspace, store, SERVICE, model, instant)
    past = events.filter(pl.col("event_timestamp") < instant)
    liked = dict(past.group_by("item_id").agg(pl.col("positive").sum()).iter_rows())
    counts = [liked.get(item_id, 0) for item_id in then.item_ids]
    assert counts == sorted(counts, reverse=True)
    assert set(np.flatnonzero(then.acted_on)) == {
        row for row, item_id in enumerate(then.item_ids) if item_id in set(past["item_id"])
    }
    assert then.scorer.signals.version.stamp <= int(instant.timestamp() * 1e6)


def test_without_vectors_there_is_still_a_catalogue(
    workspace: Workspace, store: FeatureStore, model: NextItemModel
) -> None:
    sink, aside = sink_of(workspace), workspace.root / "aside"
    sink.rename(aside)
    try:
        items = load(workspace, store, model)
    finally:
        aside.rename(sink)
    assert len(items) == 80
    assert not items.index.present.any()


def test_an_unprepared_workspace_is_refused_with_the_remedy(
    tmp_path: Path, store: FeatureStore, model: NextItemModel
) -> None:
    empty = open_workspace(make_films(tmp_path / "data", n_events=10), tmp_path / "empty")
    with pytest.raises(FeatureNotFoundError, match="feast-fusion prepare"):
        load(empty, store, model)


@contextmanager
def watching(
    workspace: Workspace, store: FeatureStore, model: NextItemModel
) -> Iterator[CatalogueWatch]:
    with CatalogueWatch(
        workspace, store, SERVICE, model, clock=lambda: datetime.now(UTC), refresh_s=0.05
    ) as watch:
        yield watch


def test_new_items_and_new_vectors_appear_without_a_restart(
    workspace: Workspace, store: FeatureStore, model: NextItemModel
) -> None:
    with watching(workspace, store, model) as watch:
        before = watch.current
        last = np.eye(384, dtype=np.float32)[-1].tolist()
        write_vectors(workspace, "more", {"f9": last})
        wait_until(lambda: watch.current is not before)
        np.testing.assert_array_equal(watch.current.vector("f9"), last)
        path = workspace.dataset.items.path
        items = pl.read_parquet(path)
        new = items.filter(pl.col("item_id") == "f1").with_columns(
            item_id=pl.lit("new"), event_timestamp=pl.col("event_timestamp").max() + timedelta(1)
        )
        kept = items.clone()
        pl.concat([items, new]).write_parquet(path)
        try:
            write_sources(workspace)
            wait_until(lambda: "new" in watch.current.items)
            assert watch.current.item_ids[watch.current.fresh[0]] == "new"
            assert before.title("new") is None, "an answer under way keeps its catalogue"
        finally:
            kept.write_parquet(path)


def test_a_large_catalogue_is_put_on_a_graph_without_a_restart(
    workspace: Workspace, store: FeatureStore, model: NextItemModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.graph.graph_watch.EXACT_LIMIT", 50)
    with watching(workspace, store, model) as watch:
        wait_until(lambda: watch.current.index.placed is not None)
        row = watch.current.items.code("f7")
        graph = workspace.root.glob("graphs/*/000001/graph.faiss")
        assert len(list(graph)) == 1
        vector = np.full(384, 384**-0.5, dtype=np.float32)
        write_vectors(workspace, "moved", {"f7": vector.tolist()})
        wait_until(lambda: np.array_equal(watch.current.vector("f7"), vector))
        placed = watch.current.index.placed
        assert placed is not None
        assert placed.rest.rows.tolist() == [row]


def test_a_catalogue_that_cannot_be_loaded_leaves_the_old_one(
    workspace: Workspace,
    store: FeatureStore,
    model: NextItemModel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with watching(workspace, store, model) as watch:
        before = watch.current
        damaged = sink_of(workspace) / "part-damaged.parquet"
        damaged.write_bytes(b"not a Parquet file")
        wait_until(lambda: "kept the old one" in caplog.text)
        assert watch.current is before
        damaged.unlink()
        write_vectors(workspace, "3", {"f9": np.eye(384, dtype=np.float32)[1].tolist()})
        wait_until(lambda: watch.current is not before)
