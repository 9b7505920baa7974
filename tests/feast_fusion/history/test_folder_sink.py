"""A sink that is a folder: files staged beside it, and how little of it a run reads."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from feast_fusion.history.folder_sink import FolderSink
from feast_fusion.history.staging import write_staged
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.times import TIMESTAMP
from tests.feast_fusion.feast_repo import DAY_0

COLUMNS = pa.schema({"key": pa.string(), "n": pa.int64(), "event_timestamp": TIMESTAMP})


@pytest.fixture
def sink(tmp_path: Path) -> FolderSink:
    return FolderSink(
        tmp_path / "v", ViewSchema("v", ("key",), "event_timestamp", None, COLUMNS, {})
    )


def rows(*numbers: int) -> pa.Table:
    days = [DAY_0 + timedelta(days=i) for i in numbers]
    keys = [f"k{i}" for i in numbers]
    return pa.table({"key": keys, "n": numbers, "event_timestamp": days}, schema=COLUMNS)


def numbers(sink: FolderSink) -> list[int]:
    found: list[int] = sink.rows().read(["n"])["n"].to_pylist()
    return found


def test_staged_files_count_once_they_are_committed_in_their_order(sink: FolderSink) -> None:
    with sink.locked(), sink.staging() as place:
        sink.append(rows(9))
        files = [write_staged(place, n, rows(i, i + 1)) for n, i in ((1, 3), (0, 1), (2, 5))]
        assert write_staged(place, 1, rows(7)) == files[0], "the same shard, done again"
        assert numbers(sink) == [9]
        sink.commit([files[1], files[0]])
        assert numbers(sink) == [9, 1, 2, 7]
    assert [path.name for path in sink.folder.parent.iterdir() if path.is_dir()] == ["v"]


def test_what_killed_runs_left_is_removed_and_what_others_have_is_not(sink: FolderSink) -> None:
    ours = (".v.new.tmp", ".v.0123abcd.tmp", ".v.new.tmp.0123abcd.tmp")
    others = (".v.w.0123abcd.tmp", ".v.w.new.tmp")  # of a sink called v.w
    for name in (*ours, *others):
        (sink.folder.parent / name).mkdir()
    with sink.locked():
        left = [path.name for path in sink.folder.parent.iterdir() if path.is_dir()]
    assert sorted(left) == sorted([*others, "v"])


def test_a_run_does_not_read_keys_that_its_own_rows_cannot_meet(sink: FolderSink) -> None:
    with sink.locked():
        sink.append(rows(1, 2))
        sink.append(rows(3, 4))
    old = sorted(sink.folder.glob("*.parquet"))[1]
    damaged = bytearray(old.read_bytes())
    damaged[10:40] = bytes(30)
    old.write_bytes(damaged)
    window = (DAY_0 + timedelta(days=3), DAY_0 + timedelta(days=9))
    assert sink.read_identities(("key",), window)["key"].to_list() == ["k3", "k4"]
    with pytest.raises(SchemaError, match="damaged"):
        sink.read_identities(("key",), None)
