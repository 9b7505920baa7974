"""The runner `ray` with a sink that is an Iceberg table: the workers' files, one commit."""

from pathlib import Path

import pytest
from pyiceberg.catalog import load_catalog

from feast_fusion.tables.iceberg_source import open_table
from tests.feast_fusion.feast_repo import DEFINITIONS, day, make_repo, page
from tests.scale.object_store import CATALOG, Lake

pytestmark = pytest.mark.filterwarnings("ignore:Batch feature views are experimental")


def test_what_two_workers_wrote_is_one_commit(lake: Lake, tmp_path: Path) -> None:
    table = lake.table("shards.page_vector")
    repo = make_repo(
        tmp_path / "repo",
        online_store=f"{{type: sqlite, path: {tmp_path}/online.db}}",
        runner="{type: ray, address: local, encoders: 2}",
        definitions=DEFINITIONS.replace("{folder}/sinks/page_vector", table),
    )
    repo.write_pages([page(f"p{i % 7}", i, i) for i in range(35)])
    repo.store_apply()
    repo.command("materialize", day(0), day(19))
    repo.command("materialize", day(0), day(40))
    found = open_table(table, "it").read(["emb", "page_id"])
    assert [emb[0] for emb in found["emb"].to_pylist()] == list(range(35))
    assert sorted(repo.transformed()) == sorted(f"text-{i}" for i in range(35))
    snapshots = load_catalog(CATALOG).load_table("shards.page_vector").snapshots()
    assert [s.summary["added-records"] for s in snapshots if s.summary] == ["20", "15"]
    assert repo.online(["p0", "p6"]) == [28, 34]
