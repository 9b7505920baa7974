"""Many small files of a sink made into few, while others read it and when it is killed."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.history.folder_sink import FolderSink
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.parquet import compaction
from feast_fusion.parquet.opening import local_files
from feast_fusion.times import TIMESTAMP
from tests.feast_fusion.feast_repo import DAY_0

COLUMNS = pa.schema(
    [("key", pa.string()), ("emb", pa.list_(pa.float32())), ("event_timestamp", TIMESTAMP)]
)


def sink_in(folder: Path, columns: pa.Schema = COLUMNS) -> FolderSink:
    view = ViewSchema("vectors", ("key",), "event_timestamp", None, columns, {"emb": 2})
    return FolderSink(folder / "sink", view)


def rows(*numbers: int) -> pa.Table:
    return pa.table(
        {
            "key": [f"k{i}" for i in numbers],
            "emb": [[float(i), 1.0] for i in numbers],
            "event_timestamp": [DAY_0 + timedelta(days=i) for i in numbers],
        },
        schema=COLUMNS,
    )


def filled(folder: Path) -> FolderSink:
    sink = sink_in(folder)
    with sink.locked():
        for numbers in ((3, 1), (2,), (0, 4, 5), (7,)):
            sink.append(rows(*numbers))
    return sink


def test_rows_keep_their_order_and_are_in_one_sealed_file(tmp_path: Path) -> None:
    sink = filled(tmp_path)
    before = sink.rows()
    with sink.locked():
        assert sink.compact() == (5, 1)
        assert sink.compact() == (1, 1)
        sink.append(rows(6))
    (first, _) = sink.rows().files
    assert sink.rows().read()["key"].to_pylist() == ["k3", "k1", "k2", "k0", "k4", "k5", "k7", "k6"]
    assert b"sha256 of footer" in Path(first.path).read_bytes()[-4096:]
    damaged = bytearray(Path(first.path).read_bytes())
    damaged[-200] ^= 1
    Path(first.path).write_bytes(damaged)
    with pytest.raises(ValueError, match=r"footer of another digest|damaged"):
        sink.rows()
    assert before.read()["key"].to_pylist() == ["k3", "k1", "k2", "k0", "k4", "k5", "k7"]


def test_who_has_opened_the_old_files_reads_them_until_they_expire(tmp_path: Path) -> None:
    sink = filled(tmp_path)
    opened = sink.rows()
    expected = opened.read()
    with sink.locked():
        sink.compact()
        assert sink.expire(datetime.now(UTC) - timedelta(hours=1)) == 0
        assert opened.read().equals(expected)
        sink.append(rows(8))
        assert sink.compact() == (2, 1)
        assert opened.read().equals(expected)
        assert pq.read_table(sink.folder)["key"].to_pylist()[-1] == "k8"  # and no row twice
        assert sink.expire(datetime.now(UTC) + timedelta(hours=1)) == 7
    with pytest.raises(StoreUnavailableError, match="removed or replaced"):
        opened.read()
    assert sink.rows().n_rows == 8


def test_files_that_lack_a_feature_stay_apart(tmp_path: Path) -> None:
    filled(tmp_path)
    more = sink_in(tmp_path, COLUMNS.append(pa.field("year", pa.int64())))
    with more.locked():
        more.append(rows(3).append_column("year", pa.array([7], pa.int64())))
        assert more.compact() == (7, 2)
        assert more.read_identities(("key",), None)["key"].to_list() == ["k3"]
    assert more.rows().read(["year"])["year"].to_pylist() == [None] * 7 + [7]


def test_large_files_before_the_first_small_one_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_in(tmp_path)
    with sink.locked():
        sink.append(rows(*range(200)))
        sink.compact()
        (large,) = sink.rows().files
        monkeypatch.setattr(compaction, "TARGET_BYTES", 1000)
        for numbers in ((300,), (301, 302)):
            sink.append(rows(*numbers))
        assert sink.compact() == (3, 2)
        assert sink.rows().files[0].path == large.path
        monkeypatch.setattr(compaction, "TARGET_BYTES", 1)
        sink.append(rows(303))
        assert sink.compact() == (3, 3)
    assert sink.rows().read()["key"].to_pylist()[199:] == ["k199", "k300", "k301", "k302", "k303"]


KILLED = """
import os, signal, sys
from pathlib import Path
from feast_fusion.feast_command import import_lightly
import_lightly()
from feast_fusion.history import folder_sink
from tests.feast_fusion.history.test_compaction import sink_in
step, folder = sys.argv[1:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if step == "writing":
    folder_sink.write_together = die
else:  # between the two names of the exchange
    rename = Path.rename
    Path.rename = lambda path, to: die() if path.name.endswith("new.tmp") else rename(path, to)
sink = sink_in(Path(folder))
with sink.locked():
    sink.compact()
"""


@pytest.mark.parametrize("step", ["writing", "exchange"])
def test_killed_in_the_middle_nothing_is_lost(tmp_path: Path, step: str) -> None:
    sink = filled(tmp_path)
    expected = sink.rows().read()
    command = [sys.executable, "-c", KILLED, step, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": "."}, check=False)
    assert done.returncode == -signal.SIGKILL
    with sink.locked():
        assert sink.rows().read().equals(expected)
        assert sink.compact() == (5, 1)
    assert sink.rows().read().equals(expected)


def test_rows_of_a_position_are_the_same(tmp_path: Path) -> None:
    sink = filled(tmp_path)
    before = next(sink.rows().gather(["key"], np.array([1, 3, 6]), 10))
    with sink.locked():
        sink.compact()
    assert next(local_files(sink.folder, "it").gather(["key"], np.array([1, 3, 6]), 10)) == before
