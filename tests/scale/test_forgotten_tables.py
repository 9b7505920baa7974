"""Rows that leave an Iceberg table for good: data, manifests and metadata of every snapshot."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.tables.iceberg_table import TableName
from feast_fusion.tables.table_erasure import erase_table_rows, tables_of
from forgetting.audit.file_search import FileSearch
from forgetting.audit.iceberg_search import search_tables
from forgetting.audit.needles import Needles
from tests.feast_fusion.feast_repo import DAY_0
from tests.scale.object_store import Lake
from tests.scale.test_iceberg_tables import VECTORS, keys, sink_of

PERSON = "visitor-8c41f2"


def rows(*names: str) -> pa.Table:
    columns = {
        "key": list(names),
        "emb": [[1.0, 2.0]] * len(names),
        "event_timestamp": [DAY_0 + timedelta(days=at) for at in range(len(names))],
    }
    return pa.table(columns, schema=VECTORS)


def is_theirs(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.array([value == PERSON for value in column.to_pylist()])


def test_no_file_of_any_snapshot_has_them_and_the_order_of_others_stays(lake: Lake) -> None:
    uri = lake.table("forgotten.t")
    sink = sink_of(uri)
    with sink.locked():
        for some in (["a", "b"], ["c", PERSON, "d"], ["e", "a"], [PERSON]):
            sink.append(rows(*some))
    namespace = uri.rpartition(".")[0]
    search = FileSearch(Needles(PERSON), lambda path: None)  # type: ignore[arg-type, return-value]
    before = [place for place, _ in search_tables(namespace, search)]
    assert {place.rpartition(".")[2] for place in before} == {"parquet", "avro"}
    assert tables_of(namespace) == [uri]
    assert erase_table_rows(uri, "key", is_theirs) == 2
    assert keys(sink_of(uri)) == ["a", "b", "c", "d", "e", "a"]
    assert list(search_tables(namespace, search)) == []
    assert len(TableName.of(uri).load(uri).snapshots()) == 1
    assert erase_table_rows(uri, "key", is_theirs) == 0
    assert erase_table_rows(uri, "another", is_theirs) == 0
