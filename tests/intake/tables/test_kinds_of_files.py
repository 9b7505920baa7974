"""The same rows in every kind of file, folder, pattern, URL and database are the same table."""

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from adbc_driver_postgresql import dbapi

from feast_fusion.errors import SchemaError, StoreUnavailableError
from intake.column_roles import role_of
from intake.dataset import Interactions
from intake.tables.digest import digest_table
from intake.tables.reading import read_table
from tests.intake.tables.postgres_server import INITDB, postgres_server
from tests.intake.tables.s3_server import s3_server

ROWS = {
    "user_id": ["007", "08", "é\n世界"],
    "item_id": ["a", "b", 'c"d'],
    "event_timestamp": ["2024-01-01T00:00:00Z"] * 3,
    "value": [4.0, 3.5, None],
    "page": [1, 2, 3],
}
FRAME = pl.DataFrame(ROWS)


def compressed(path: Path, data: bytes) -> None:
    with pa.output_stream(str(path), compression="detect") as stream:
        stream.write(data)


def csv(separator: str = ",") -> bytes:
    return FRAME.write_csv(separator=separator).encode()


def objects() -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if v is not None} for row in FRAME.to_dicts()]


def lines() -> bytes:
    return "\n".join(json.dumps(row) for row in objects()).encode()


def halves(folder: Path) -> None:
    for at, part in enumerate((FRAME[:2], FRAME[2:])):
        (folder / f"day={at}").mkdir(parents=True)
        part.write_parquet(folder / f"day={at}" / "part.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "day=0" / ".part.crc").touch()


WRITTEN: dict[str, Callable[[Path], Any]] = {
    "rows.csv": lambda path: path.write_bytes(csv()),
    "bom.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + csv().replace(b"\n4", b"\r\n4")),
    "semicolon.csv": lambda path: path.write_bytes(csv(";")),
    "pipe.txt": lambda path: path.write_bytes(csv("|")),
    "rows.tsv": lambda path: path.write_bytes(csv("\t")),
    "rows.csv.gz": lambda path: compressed(path, csv()),
    "rows.csv.zst": lambda path: (pa.output_stream(str(path), compression="zstd").write(csv()),),
    "rows.jsonl": lambda path: path.write_bytes(lines()),
    "rows.json.gz": lambda path: compressed(path, lines()),
    "array.json": lambda path: path.write_text(json.dumps(objects())),
    "rows.parquet": FRAME.write_parquet,
    "no suffix": FRAME.write_parquet,
    "rows.feather": lambda path: feather.write_feather(FRAME.to_arrow(), str(path)),
    "folder": halves,
    "odd [1] *.csv": lambda path: path.write_bytes(csv()),
}


def section(**keys: Any) -> Interactions:
    return Interactions(**keys)


def read(folder: Path, **keys: Any) -> pa.Table:
    found = section(**keys)
    source = read_table(found, "interactions", folder, role_of(found))
    assert len(source.unread) == 0
    return source.table


def rows(table: pa.Table) -> list[dict[str, Any]]:
    frame = pl.DataFrame(table.select(list(ROWS)))
    return frame.with_columns(pl.col("value").cast(pl.Float64)).to_dicts()


@pytest.mark.parametrize("name", WRITTEN)
def test_every_kind_of_file_is_the_same_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITTEN[name](path)
    assert rows(read(tmp_path, path=path)) == FRAME.to_dicts()


def test_folders_name_a_column_and_patterns_choose_files(tmp_path: Path) -> None:
    halves(tmp_path / "folder")
    more = tmp_path / "folder" / "day=1" / "more.csv"
    more.write_bytes(csv())
    table = read(tmp_path, path=tmp_path / "folder" / "*" / "*.parquet")
    assert table["day"].to_pylist() == ["0", "0", "1"]
    with pytest.raises(SchemaError, match="folder: got files whose columns have types"):
        read(tmp_path, path=tmp_path / "folder")
    assert read(tmp_path, path=tmp_path / "folder" / "*" / "m*.csv")["day"].to_pylist() == [1, 1, 1]
    more.unlink()
    assert len(read(tmp_path, path=tmp_path / "folder" / "day=[1]")) == 1
    (tmp_path / "delta" / "_delta_log").mkdir(parents=True)
    (tmp_path / "delta" / "_delta_log" / "0.json").write_text("{}")
    with pytest.raises(SchemaError, match="a Delta table"):
        read(tmp_path, path=tmp_path / "delta")


def test_files_at_urls_are_read_and_noticed_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    (tmp_path / "bucket").mkdir()
    halves(tmp_path / "bucket" / "folder")
    assert rows(read(tmp_path, path=f"file://{tmp_path}/bucket/folder")) == FRAME.to_dicts()
    with s3_server(tmp_path) as query:
        found = section(path=f"s3://bucket/folder?{query}")
        assert rows(read(tmp_path, path=found.path)) == FRAME.to_dicts()
        one = section(path=f"s3://bucket/folder/day=1/*.parquet?{query}")
        assert len(read(tmp_path, path=one.path)) == 1
        before = digest_table(found, tmp_path)
        assert digest_table(found, tmp_path) == before is not None
        FRAME.write_parquet(tmp_path / "bucket" / "folder" / "day=0" / "more.parquet")
        assert digest_table(found, tmp_path) != before
    with pytest.raises(SchemaError, match=r"nothing://there: got a URL that cannot be opened"):
        read(tmp_path, path="nothing://there")


def test_a_query_reads_files_and_databases(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(csv())
    query = "SELECT * FROM read_csv('rows.csv', all_varchar = true)"
    assert len(read(tmp_path, query=query)) == 3
    database = tmp_path / "shop.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.register("frame", FRAME.to_arrow())
        connection.execute("CREATE TABLE events AS SELECT * FROM frame")
    select = "SELECT * FROM events"
    assert rows(read(tmp_path, query=select, database=database)) == FRAME.to_dicts()
    lite = tmp_path / "shop.db"
    with sqlite3.connect(lite) as connection:
        FRAME.to_pandas().to_sql("events", connection, index=False)
        connection.execute("INSERT INTO events VALUES ('9', 'a', NULL, 'many', 4)")
    connection.close()
    table = read(tmp_path, query=select, database=lite, null_values=["many"])
    assert rows(table)[:3] == FRAME.to_dicts()
    with pytest.raises(SchemaError, match=r"query 'SELECT \* FROM nowhere'.*no such table"):
        read(tmp_path, query="SELECT * FROM nowhere", database=lite)
    with pytest.raises(StoreUnavailableError, match=r"postgresql://nowhere.*PGPASSWORD") as error:
        read(tmp_path, query=select, database="postgresql://me:secret@nowhere.invalid/shop")
    assert "secret" not in str(error.value)
    with pytest.raises(SchemaError, match=r"got mysql://, expected .* or postgresql://"):
        read(tmp_path, query=select, database="mysql://nowhere/shop")


@pytest.mark.skipif(INITDB is None, reason="no PostgreSQL is installed")
def test_a_query_reads_a_server(tmp_path: Path) -> None:
    with postgres_server() as url:
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("events", FRAME.to_arrow())
            cursor.execute("ALTER TABLE events ADD seen timestamptz DEFAULT '2024-01-01 08:00+08'")
            cursor.execute("ALTER TABLE events ALTER value TYPE numeric(3, 1)")
            connection.commit()
        table = read(tmp_path, query="SELECT * FROM events", database=url)
        assert rows(table) == FRAME.to_dicts()
        assert table["seen"].to_pylist() == [datetime(2024, 1, 1, tzinfo=UTC)] * 3
        found = section(query="SELECT * FROM events", database=url)
        before = digest_table(found, tmp_path)
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE events SET page = 9")
            connection.commit()
        assert digest_table(found, tmp_path) != before is not None
        with pytest.raises(SchemaError, match=r"query 'SELECT \* FROM nowhere'.*does not exist"):
            read(tmp_path, query="SELECT * FROM nowhere", database=url)


def test_whatever_changes_behind_a_section_changes_its_digest(tmp_path: Path) -> None:
    halves(tmp_path / "folder")
    (tmp_path / "one.csv").write_bytes(csv())
    sections = [
        section(path=tmp_path / "folder"),
        section(path=tmp_path / "folder" / "*" / "*.parquet"),
        section(query="SELECT * FROM 'folder/*/*.parquet'"),
    ]
    before = [digest_table(each, tmp_path) for each in sections]
    assert before == [digest_table(each, tmp_path) for each in sections]
    FRAME.head(1).write_parquet(tmp_path / "folder" / "day=1" / "part.parquet")
    changed = [digest_table(each, tmp_path) for each in sections]
    assert None not in changed
    assert all(a != b for a, b in zip(before, changed, strict=True))


REFUSED: dict[str, tuple[bytes, str]] = {
    "rows.zip": (b"PK\x03\x04", "a zip archive or an Excel sheet.*Unpack it"),
    "rows.csv": (b"", "an empty file"),
    "gz.csv": (b"\x1f\x8b\x08", "a gzip file without its suffix.*ends in .gz"),
    "cut.parquet": (b"\x00\x01", "cannot be read: it begins with"),
    "bad.jsonl": (b'{"user_id": 1}\n{"user_id":\n', r"cannot be read as JSON.*line"),
    "capitals.jsonl": (b'{"Title": 1, "title": 2}', "differ from 'title' by capital letters"),
    "twice.csv": (b"a,b,a\n1,2,3\n", r"more than one column named \['a'\]"),
    "bad.csv.gz": (b"\x1f\x8b\x08\x00broken", "a file that cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SchemaError, match=rf"(?s){name}: .*{message}"):
        read(tmp_path, path=tmp_path / name)
