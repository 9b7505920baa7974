"""The newest rows of the log, whatever versions of the service and whatever damage it holds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import SchemaError
from feast_fusion.times import TIMESTAMP
from training.audit.served_rows import read_served
from transformations.served_files import REQUEST, new_served_file, stamp_column

START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = [*REQUEST, "user_stats__n", stamp_column("user_stats")]


def write(folder: Path, number: int, n: int, feature: str = "user_stats__n") -> Path:
    """A file of the requests 2 * number and 2 * number + 1, three rows each, at second n."""
    requests = [2 * number + at // 3 for at in range(6)]
    times = pa.array([START + timedelta(seconds=request) for request in requests], TIMESTAMP)
    table = pa.table(
        {
            "user_id": [f"u{request}" for request in requests],
            "item_id": [f"i{at % 3}" for at in range(6)],
            "event_timestamp": times,
            feature: requests,
            stamp_column("user_stats"): times,
        }
    )
    path = new_served_file(folder, n)
    pq.write_table(table, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        write(tmp_path, number, number)
    return tmp_path


def test_reads_the_newest_rows_before_an_instant(folder: Path) -> None:
    newest = read_served(folder, COLUMNS, limit=4).table["user_stats__n"].to_pylist()
    assert newest == [6, 7, 7, 7]
    before = read_served(folder, COLUMNS, 4, START + timedelta(seconds=5)).table
    assert before["user_stats__n"].to_pylist() == [3, 4, 4, 4]
    assert before.column_names == COLUMNS


def test_a_log_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    found = read_served(tmp_path / "absent", COLUMNS)
    assert (len(found.table), found.n_other, found.table.column_names) == (0, 0, COLUMNS)


def test_rows_of_another_version_are_left_out_and_counted(folder: Path) -> None:
    write(folder, 9, 9, feature="renamed")
    found = read_served(folder, COLUMNS)
    assert (len(found.table), found.n_other) == (24, 6)


def test_a_damaged_file_is_named(folder: Path) -> None:
    path = write(folder, 9, 9)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SchemaError, match=path.name):
        read_served(folder, COLUMNS)
