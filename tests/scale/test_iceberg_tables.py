"""Sources and sinks that are Iceberg tables on an S3 server, beside the same in local folders."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.table import Table

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.history.staging import write_staged
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.tables import iceberg_sink
from feast_fusion.tables.iceberg_sink import IcebergSink
from feast_fusion.tables.iceberg_source import open_table
from feast_fusion.times import TIMESTAMP
from tests.feast_fusion.feast_repo import (
    DAY_0,
    DEFINITIONS,
    FEAST,
    FeastRepo,
    day,
    make_repo,
    page,
    redis_store,
)
from tests.feast_fusion.online.redis_faults import open_redis
from tests.scale.object_store import CATALOG, Lake

pytestmark = pytest.mark.filterwarnings("ignore:Batch feature views are experimental")

VECTORS = pa.schema(
    [("key", pa.string()), ("emb", pa.list_(pa.float32())), ("event_timestamp", TIMESTAMP)]
)
IDENTITY = ("key", "event_timestamp")


def sink_of(uri: str, columns: pa.Schema = VECTORS) -> IcebergSink:
    view = ViewSchema("vectors", ("key",), "event_timestamp", None, columns, {"emb": 2})
    return IcebergSink(uri, view)


def rows(*numbers: int) -> pa.Table:
    return pa.table(
        {
            "key": [f"k{i}" for i in numbers],
            "emb": [[float(i), 1.0] for i in numbers],
            "event_timestamp": [DAY_0 + timedelta(days=i) for i in numbers],
        },
        schema=VECTORS,
    )


def keys(sink: IcebergSink) -> list[str]:
    found: list[str] = sink.rows().read(["key"])["key"].to_pylist()
    return found


# --- one sink, several writers -------------------------------------------------------------------


def test_what_another_run_committed_is_left_out(lake: Lake) -> None:
    first, second = sink_of(lake.table("conflict.t")), sink_of(lake.table("conflict.t"))
    with first.locked(), second.locked():
        assert first.read_identities(IDENTITY, None).height == 0
        assert second.read_identities(IDENTITY, None).height == 0
        with second.staging() as place:
            staged = [
                write_staged(place, n, rows(*r)) for n, r in enumerate([(3, 4), (5,), (7, 6)])
            ]
            left = write_staged(place, 9, rows(99))
            first.append(rows(4, 5))
            second.commit(staged)
        first.append(rows(6, 8))
        second.append(rows(9))
        assert keys(first) == ["k4", "k5", "k3", "k7", "k6", "k8", "k9"]
        with pytest.raises(ValueError, match="already referenced"):
            second.commit(staged[2:])
    files = lake.files("tables/conflict")
    assert sum("/data/" in file for file in files) == 5
    assert not any(file.endswith(left.rpartition("/")[2]) for file in files)


def test_files_of_a_commit_whose_answer_was_lost_stay(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_of(lake.table("unknown.t"))
    add_files = Table.add_files

    def without_an_answer(table: Table, files: list[str]) -> None:
        add_files(table, files)
        raise CommitStateUnknownException("502")

    with sink.locked():
        sink.append(rows(0))
        monkeypatch.setattr(Table, "add_files", without_an_answer)
        with pytest.raises(CommitStateUnknownException), sink.staging() as place:
            sink.commit([write_staged(place, 0, rows(1, 2))])
    assert keys(sink) == ["k0", "k1", "k2"]


def test_a_replacement_is_one_commit_or_none(lake: Lake) -> None:
    sink, other = sink_of(lake.table("replaced.t")), sink_of(lake.table("replaced.t"))
    with sink.locked():
        sink.append(rows(0, 1))
        with pytest.raises(ZeroDivisionError), sink.replacement() as new:
            new.append(rows(5))
            raise ZeroDivisionError
        assert keys(sink) == ["k0", "k1"]
        with sink.replacement() as new:
            for number in range(11):
                new.append(rows(number))
            assert keys(sink) == ["k0", "k1"]
        assert keys(sink) == [f"k{number}" for number in range(11)]
        refused = pytest.raises(StoreUnavailableError, match="another process")
        with refused, sink.replacement() as new, other.locked():
            new.append(rows(20))
            other.append(rows(30))
        assert keys(sink) == [*(f"k{number}" for number in range(11)), "k30"]


def test_a_feature_that_the_view_gained_and_one_of_another_type(lake: Lake) -> None:
    sink = sink_of(lake.table("gained.t"))
    with sink.locked():
        sink.append(rows(0, 1))
    more = sink_of(sink.uri, VECTORS.append(pa.field("year", pa.int64())))
    with more.locked():
        assert more.read_identities(IDENTITY, None).height == 0
        more.append(rows(1).append_column("year", pa.array([7], pa.int64())))
        assert more.read_identities(IDENTITY, None).height == 1
        assert more.rows().read(["key", "year"]).to_pydict() == {
            "key": ["k0", "k1", "k1"],
            "year": [None, None, 7],
        }
    other = VECTORS.set(1, pa.field("emb", pa.list_(pa.float64())))
    with pytest.raises(SchemaError, match=r"emb: list<item: float>.*emb: list<item: double>"):
        sink_of(sink.uri, other).ensure()


# --- fewer files ---------------------------------------------------------------------------------


def test_compaction_keeps_rows_in_order_and_readers_have_theirs(lake: Lake) -> None:
    sink = sink_of(lake.table("compact.t"))
    with sink.locked():
        for numbers in ((3, 1), (2,), (0, 4, 5), (7,)):
            sink.append(rows(*numbers))
        opened = sink.rows()
        expected = opened.read()
        assert sink.compact() == (4, 1)
        assert sink.compact() == (1, 1)
        assert sink.rows().read().equals(expected)
        assert sink.expire(datetime.now(UTC) - timedelta(hours=1)) == 0
        assert opened.read().equals(expected)
        sink.append(rows(6))
        assert keys(sink) == [*expected["key"].to_pylist(), "k6"]
        assert sink.expire(datetime.now(UTC) + timedelta(hours=1)) > 4
    assert keys(sink) == [*expected["key"].to_pylist(), "k6"]
    assert sum(name.endswith(".parquet") for name in lake.files("tables/compact")) == 2
    with pytest.raises(StoreUnavailableError, match="removed or replaced while it was read"):
        opened.read()


def test_compaction_beside_a_writer_changes_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, other = sink_of(lake.table("beside.t")), sink_of(lake.table("beside.t"))
    with sink.locked(), other.locked():
        sink.append(rows(0))
        sink.append(rows(1))
        with monkeypatch.context() as patch:
            patch.setattr(iceberg_sink, "write_together", lambda *_: 1 / 0)  # as if it were killed
            with pytest.raises(ZeroDivisionError):
                sink.compact()
        other.append(rows(2))
        with pytest.raises(StoreUnavailableError, match="another process"):
            sink.compact()
        assert keys(sink) == ["k0", "k1", "k2"]
    with sink.locked():
        assert sink.compact() == (3, 1)
    assert keys(sink) == ["k0", "k1", "k2"]


# --- any table as a source -----------------------------------------------------------------------


def test_a_table_that_another_engine_writes(lake: Lake) -> None:
    catalog = load_catalog(CATALOG)
    catalog.create_namespace("foreign")
    table = catalog.create_table("foreign.t", rows().schema)
    uri = lake.table("foreign.t")
    assert open_table(uri, "it").read().schema.names == VECTORS.names
    for number in (2, 0, 1):
        table.append(rows(number))
    opened = open_table(uri, "it", times=("event_timestamp",))
    assert opened.read(["key"])["key"].to_pylist() == ["k2", "k0", "k1"]
    assert opened.read().schema.equals(VECTORS)
    with table.update_schema() as update:
        update.rename_column("emb", "vector")
    with pytest.raises(SchemaError, match="a column 'emb', which was renamed"):
        open_table(uri, "it")
    with pytest.raises(StoreUnavailableError, match=r"no Iceberg table 'foreign\.none'"):
        open_table(lake.table("foreign.none"), "it")
    with pytest.raises(SchemaError, match=r"iceberg://CATALOG/NAMESPACE\.TABLE"):
        open_table("iceberg://lake/none", "it")
    with pytest.raises(SchemaError, match="Iceberg catalogue 'nowhere'"):
        open_table("iceberg://nowhere/a.b", "it")


# --- a Feast repository --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repos(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FeastRepo]]:
    """The same pages with a local sink, and with a table as sink, applied."""
    folder = tmp_path_factory.mktemp("repos")
    table = DEFINITIONS.replace("{folder}/sinks/page_vector", lake.table("pages.page_vector"))
    with open_redis(folder / "redis") as server:
        made = {}
        for name, definitions in {"local": DEFINITIONS, "table": table}.items():
            repo = make_repo(
                folder / name,
                online_store=redis_store(server),
                offline_store="feast_fusion.point_in_time.PointInTimeOfflineStore",
                definitions=definitions.replace('pages")', f'pages_{name}")'),
            )
            config = repo.folder / "feature_store.yaml"
            config.write_text(
                config.read_text().replace("project: pages", f"project: pages_{name}")
            )
            repo.write_pages([page(f"p{i % 7}", i, i) for i in range(35)])
            done = repo.command("apply")
            assert name == "local" or "Could not" not in done.stdout + done.stderr
            made[name] = repo
        yield made


def test_two_materializes_at_once_lose_and_double_nothing(repos: dict[str, FeastRepo]) -> None:
    repo, local = repos["table"], repos["local"]
    command = [*FEAST, "materialize", day(0), day(40)]
    fifo = repo.folder / "fifo"
    os.mkfifo(fifo)
    waits = repo.environment(UDF_WAIT_ON="text-12", UDF_FIFO=str(fifo))
    killed = subprocess.Popen(command, cwd=repo.folder, env=waits)
    with fifo.open("w"):  # once the second batch is in the transformation
        killed.kill()
        killed.wait()
    assert open_table("iceberg://lake/pages.page_vector", "it").n_rows == 10
    assert repo.watermark() is None
    both = [
        subprocess.Popen(command, cwd=repo.folder, env=repo.environment(), stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    local.here("materialize", day(0), day(40))
    found = pl.DataFrame(open_table("iceberg://lake/pages.page_vector", "it").read())
    order = ["event_timestamp", "page_id"]
    assert found.select(local.stored().columns).sort(order).equals(local.stored().sort(order))
    pages = [f"p{i}" for i in range(9)]
    assert repo.online(pages) == local.online(pages) == [28, 29, 30, 31, 32, 33, 34, None, None]
    labels = pl.DataFrame(
        {
            "page_id": [f"p{i % 9}" for i in range(60)],
            "event_timestamp": [DAY_0 + timedelta(days=i * 0.7) for i in range(60)],
        }
    )
    features = ["page_vector:emb", "page_vector:label", "page_text:body"]
    sets = [
        each.store.get_historical_features(labels, features).to_training_set()
        for each in (repo, local)
    ]
    assert sets[0].to_arrow().equals(sets[1].to_arrow())
    assert np.array_equal(*(each.vectors["emb"].index for each in sets))
