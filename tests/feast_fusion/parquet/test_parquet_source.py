from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FileSource
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.history.row_keys import read_keys
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.parquet_source import POSITION, ParquetSource
from feast_fusion.times import TIMESTAMP

START = datetime(2024, 1, 1, tzinfo=UTC)
ALL = (START, START + timedelta(days=999))
KEYS = pa.schema([("id", pa.string()), ("at", TIMESTAMP)])


def source(path: Path | str, **options: object) -> FileSource:
    return FileSource(path=str(path), timestamp_field="at", **options)


def opened(path: Path | str, repo: Path | None = None, **options: object) -> ParquetSource:
    return open_source(source(path, **options), repo, "Feature view 'v', source 's'")


def numbered(first: int, n_rows: int) -> pa.Table:
    numbers = np.arange(first, first + n_rows)
    at = pa.array([START + timedelta(hours=int(n)) for n in numbers], TIMESTAMP)
    lists = [None if n % 5 == 0 else [float(n), -float(n)] for n in numbers]
    ids = [f"i{n % 3}" for n in numbers]
    columns = {"id": ids, "at": at, "n": numbers, "v": pa.array(lists, pa.list_(pa.float32()))}
    return pa.table(columns)


@given(
    files=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    row_group=st.integers(1, 5),
    batch_rows=st.integers(1, 7),
    data=st.data(),
)
def test_gather_is_take(
    files: list[int], row_group: int, batch_rows: int, data: st.DataObject
) -> None:
    n_rows = sum(files)
    wanted = data.draw(st.sets(st.integers(0, n_rows - 1))) if n_rows else set()
    positions = np.array(sorted(wanted), dtype=np.int64)
    everything = numbered(0, n_rows)
    with TemporaryDirectory() as folder:
        starts = np.cumsum([0, *files])
        for number, (first, size) in enumerate(zip(starts, files, strict=False)):
            path = Path(folder) / f"part-{number}.parquet"
            pq.write_table(everything.slice(int(first), size), path, row_group_size=row_group)
        rows = opened(folder)
        tables = list(rows.gather(["v", "n"], positions, batch_rows))
        keys = read_keys(rows, KEYS, "at", ALL)
    sizes = [table.num_rows for table in tables]
    full, rest = divmod(len(positions), batch_rows)
    assert sizes == [batch_rows] * full + [rest] * (rest > 0)
    expected = everything.select(["v", "n"]).take(pa.array(positions))
    found = pa.concat_tables(tables) if tables else expected.slice(0, 0)
    assert found.to_pylist() == expected.to_pylist()
    assert keys[POSITION].to_list() == list(range(n_rows))
    assert keys["id"].to_list() == everything["id"].to_pylist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_every_timestamp_becomes_utc_microseconds(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    moments = pa.array([START, START + timedelta(seconds=90)], TIMESTAMP)
    stored = moments.cast(pa.timestamp(unit, tz=zone))
    pq.write_table(pa.table({"id": ["a", "b"], "at": stored}), tmp_path / "s.parquet")
    window = (START + timedelta(seconds=90), START + timedelta(seconds=90))
    keys = read_keys(opened(tmp_path / "s.parquet"), KEYS, "at", window)
    assert keys.rows() == [("b", START + timedelta(seconds=90), 1)]


def test_a_window_has_both_its_ends_and_no_null_timestamp(tmp_path: Path) -> None:
    at = [START, START + timedelta(hours=1), None, START + timedelta(hours=2)]
    table = pa.table({"id": list("abcd"), "at": pa.array(at, TIMESTAMP)})
    pq.write_table(table, tmp_path / "s.parquet")
    window = (START, START + timedelta(hours=1))
    keys = read_keys(opened(tmp_path / "s.parquet"), KEYS, "at", window)
    assert keys["id"].to_list() == ["a", "b"]
    assert read_keys(opened(tmp_path / "s.parquet"), KEYS, "at", None).height == 4


def test_a_relative_path_starts_at_the_repository_and_columns_are_renamed(tmp_path: Path) -> None:
    table = numbered(0, 3).rename_columns(["ident", "happened", "n", "v"])
    pq.write_table(table, tmp_path / "s.parquet")
    mapping = {"ident": "id", "happened": "at"}
    rows = opened("s.parquet", tmp_path, field_mapping=mapping)
    assert rows.columns == ("id", "at", "n", "v")
    assert read_keys(rows, KEYS, "at", ALL)["id"].to_list() == ["i0", "i1", "i2"]
    (found,) = rows.gather(["at", "id"], np.array([1]), 10)
    assert found.to_pylist() == [{"at": START + timedelta(hours=1), "id": "i1"}]


def test_a_folder_is_read_in_name_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "nested").mkdir()
    for name, first in (("b.parquet", 10), ("a.parquet", 0), ("nested/c.parquet", 20)):
        pq.write_table(numbered(first, 2), tmp_path / name)
    for name in (".part-1.tmp", ".hidden.parquet", "_SUCCESS", "a.parquet.crc"):
        (tmp_path / name).write_bytes(b"not Parquet")
    (found,) = opened(tmp_path).gather(["n"], np.arange(6), 10)
    assert found["n"].to_pylist() == [0, 1, 10, 11, 20, 21]


def test_keys_take_the_types_of_the_view(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array(["a", "b"]).dictionary_encode(),
            "at": pa.array([START, START], TIMESTAMP),
            "n": pa.array([1, 2], pa.int8()),
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")
    types = pa.schema([("id", pa.string()), ("n", pa.int64())])
    keys = read_keys(opened(tmp_path / "s.parquet"), types, "at", ALL)
    assert keys.schema == {"id": pl.String(), "n": pl.Int64(), POSITION: pl.Int64()}
    with pytest.raises(SchemaError, match=r"column 'id': got .*expected int64.*field_mapping"):
        read_keys(opened(tmp_path / "s.parquet"), pa.schema([("id", pa.int64())]), "at", ALL)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"view 'v'.*no Parquet file at .*absent.*Write it first"
    ):
        opened(tmp_path / "absent.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"no Parquet file at .*empty.*\*\.pq"):
        opened(tmp_path / "empty")
    pq.write_table(numbered(0, 1_000), tmp_path / "whole.parquet")
    half = (tmp_path / "whole.parquet").read_bytes()[:500]
    (tmp_path / "half.parquet").write_bytes(half)
    with pytest.raises(SchemaError, match=r"half\.parquet.*write it again, or remove"):
        opened(tmp_path / "half.parquet")
    rows = opened(tmp_path / "whole.parquet")
    with pytest.raises(SchemaError, match=r"expected also \['absent'\].*field_mapping"):
        list(rows.gather(["n", "absent"], np.array([0]), 1))
    wrong = pa.table({"id": ["a"], "at": ["yesterday"]})
    pq.write_table(wrong, tmp_path / "wrong.parquet")
    with pytest.raises(SchemaError, match=r"column 'at': got string .*expected timestamps"):
        read_keys(opened(tmp_path / "wrong.parquet"), KEYS, "at", ALL)


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(numbered(0, 5_000), path, compression="zstd")
    damaged = bytearray(path.read_bytes())
    damaged[40:400] = b"\x00" * 360
    path.write_bytes(damaged)
    with pytest.raises(SchemaError, match=r"(?s)s\.parquet.*write it again, or remove"):
        read_keys(opened(path), KEYS, "at", ALL)


def test_a_column_that_a_file_lacks_is_null_there(tmp_path: Path) -> None:
    pq.write_table(numbered(0, 3), tmp_path / "a.parquet")
    pq.write_table(numbered(3, 3).drop_columns(["n", "v"]), tmp_path / "b.parquet")
    (found,) = opened(tmp_path).gather(["n", "v"], np.array([1, 4]), 10)
    assert found.to_pylist() == [{"n": 1, "v": [1.0, -1.0]}, {"n": None, "v": None}]
    (found,) = opened(tmp_path).gather(["n"], np.array([3, 4]), 10)
    assert found.to_pylist() == [{"n": None}] * 2


def test_a_source_that_changes_between_the_passes_is_noticed(tmp_path: Path) -> None:
    pq.write_table(numbered(0, 3), tmp_path / "s.parquet")
    rows = opened(tmp_path / "s.parquet")
    read_keys(rows, KEYS, "at", ALL)
    pq.write_table(numbered(5, 4), tmp_path / "s.parquet")
    with pytest.raises(StoreUnavailableError, match=r"s\.parquet.*replaced while it was read"):
        list(rows.gather(["n"], np.arange(3), 10))


def test_row_groups_that_were_read_are_let_go(tmp_path: Path) -> None:
    n_groups, n_rows, width = 8, 2_000, 1_000
    groups = np.random.default_rng(0).random((n_groups, n_rows * width), dtype=np.float32)
    offsets = pa.array(np.arange(n_rows + 1, dtype=np.int32) * width)
    at = pa.array([START] * n_rows, TIMESTAMP)
    schema = pa.schema({"at": TIMESTAMP, "v": pa.list_(pa.float32())})
    with pq.ParquetWriter(tmp_path / "wide.parquet", schema) as writer:
        for numbers in groups:
            vectors = pa.ListArray.from_arrays(offsets, pa.array(numbers))
            writer.write_table(pa.table([at, vectors], schema=schema))
    positions = np.arange(n_groups * n_rows)
    held = [
        pa.total_allocated_bytes()
        for _ in opened(tmp_path / "wide.parquet").gather(["v"], positions, n_rows)
    ]
    assert len(held) == n_groups
    assert held[-1] - held[2] < groups[0].nbytes
