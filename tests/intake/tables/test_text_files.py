"""Text files as people write them: what the lines mean, and what is no row of them."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from intake.column_roles import role_of
from intake.dataset import Interactions
from intake.dataset_file import load_dataset
from intake.tables.reading import read_table
from intake.tables.source_table import SourceTable
from intake.validation import validate_dataset
from intake.versioned_tables import Items
from tests.intake.data_files import NOW, Files


def source(path: Path, content: bytes | str, **keys: Any) -> SourceTable:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    section = Interactions(path=path, **keys)
    return read_table(section, "interactions", path.parent, role_of(section))


def read(tmp_path: Path, content: bytes | str, **keys: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = source(tmp_path / "rows.csv", content, **keys).table.to_pydict()
    return found


def test_ids_stay_text_and_other_columns_are_what_every_field_of_them_is(tmp_path: Path) -> None:
    lines = ["user_id,value,page,code,share,is_new,event_type,event_id"]
    lines += ["007,4,1,007,1.5,true,1,17", "8,,02,08,2,False,2,18", "9,3.5,,1,,,,"]
    assert read(tmp_path, "\n".join(lines)) == {
        "user_id": ["007", "8", "9"],
        "value": [4.0, None, 3.5],
        "page": ["1", "02", None],
        "code": ["007", "08", "1"],
        "share": [1.5, 2.0, None],
        "is_new": [True, False, None],
        "event_type": ["1", "2", None],
        "event_id": ["17", "18", None],
    }


def test_a_declared_kind_decides_how_a_column_is_read(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,price,size,genres\n1,5,38,a|b\n2,n/a,40,\n")
    keys = {"title": "genres", "text": "{item_id}", "path": path}
    section = Items(**keys, numeric=["price"], null_values=["n/a"], lists={"genres": "|"})
    table = read_table(section, "items", tmp_path, role_of(section)).table
    assert table["price"].type == pa.int64()
    assert table.to_pydict() == {
        "item_id": ["1", "2"],
        "price": [5, None],
        "size": ["38", "40"],
        "genres": [["a", "b"], None],
    }


def test_quotes_hold_separators_line_breaks_and_quotes(tmp_path: Path) -> None:
    content = 'user_id,title\n1,"a, ""b""\r\nc"\n2,""\n3,\' d\n'
    assert read(tmp_path, content) == {
        "user_id": ["1", "2", "3"],
        "title": ['a, "b"\r\nc', None, "' d"],
    }


@pytest.mark.parametrize("title", ['"Weird Al" Yankovic', '"Heroes', 'the 12" mix', "'"])
def test_quotes_are_letters_where_only_so_every_line_is_a_row(tmp_path: Path, title: str) -> None:
    found = source(tmp_path / "artists.tsv", f"user_id\ttitle\n1\t{title}\n2\tb\n3\tc\n")
    assert found.table["title"].to_pylist() == [title, "b", "c"]
    assert len(found.unread) == 0


def test_a_file_without_a_line_of_names_gets_them(tmp_path: Path) -> None:
    found = read(tmp_path, "1\ta\n2\tb\n", names=["user_id", "item_id"])
    assert found == {"user_id": ["1", "2"], "item_id": ["a", "b"]}
    assert read(tmp_path, "1::a::3\n", names=["u", "i", "v"], separator="::")["i"] == ["a"]
    assert read(tmp_path, ",user_id\n0,1\n") == {"unnamed_0": [0], "user_id": ["1"]}


@pytest.mark.parametrize(
    ("written", "encoding"), [("Amélie", "latin-1"), ("红富士苹果", "gb18030"), ("Łódź", "utf-16")]
)
def test_another_encoding_is_refused_and_read_by_the_key_in_the_message(
    tmp_path: Path, written: str, encoding: str
) -> None:
    content = f"user_id,title\n1,a\n2,{written}\n".encode(encoding)
    with pytest.raises(SchemaError, match=r"rows.csv, line \d: got bytes that are no UTF-8") as e:
        read(tmp_path, content)
    (key,) = re.findall(r'`encoding = "(.*?)"`', str(e.value))
    assert read(tmp_path, content, encoding=key)["title"] == ["a", written]


def test_another_encoding_far_down_is_found_too(tmp_path: Path) -> None:
    content = b"user_id,title\n" + b"1,abcdefghijklmnopqrst\n" * 60_000 + b"2,Am\xe9lie\n"
    with pytest.raises(SchemaError, match=r'line 60002: .*`encoding = "latin-1"`'):
        read(tmp_path, content)
    assert read(tmp_path, content, encoding="latin-1")["title"][-1] == "Amélie"
    with pytest.raises(SchemaError, match=r"bytes that are no ascii.*Correct encoding there"):
        read(tmp_path, content, encoding="ascii")


def test_lines_that_are_no_rows_are_counted_and_kept_with_their_number(files: Files) -> None:
    dataset = files.dataset()
    path = files.folder / "ratings.csv"
    good = "1,a,2024-01-01T00:00:00Z,4\n2,b,2024-01-01T00:00:00Z,3\n"
    path.write_text(
        "user_id,item_id,event_timestamp,value\n" + good + "3,c,2024-01-01T00:00:00Z\n"
        "3,c,d,2024-01-01T00:00:00Z,5\n" + "3,c,2024-01-01T00:00:00Z,5\n"
    )
    toml = dataset.path.read_text().replace("interactions.parquet", "ratings.csv")
    dataset.path.write_text(toml)
    data = validate_dataset(load_dataset(dataset.path), files.folder / "rejects", now=NOW)
    assert data.report.read["interactions"] == 5
    assert data.report.rejects["interactions"] == {"line that is no row": 2}
    example = "such as '3,c,2024-01-01T00:00:00Z' in line 4"
    assert data.report.examples["interactions"] == {"line that is no row": example}
    kept = files.rejects("interactions")
    assert [(row["unread_line"], row["unread_text"]) for row in kept] == [
        (4, "3,c,2024-01-01T00:00:00Z"),
        (5, "3,c,d,2024-01-01T00:00:00Z,5"),
    ]
    assert data.interactions["user_id"].to_pylist() == ["1", "2", "3"]


def test_columns_have_our_names(tmp_path: Path) -> None:
    content = "userId,movieId,when\n1,a,2\n"
    renamed = {"user_id": "userId", "item_id": "movieId", "title": "movieId"}
    assert read(tmp_path, content, columns=renamed) == {
        "user_id": ["1"],
        "item_id": ["a"],
        "title": ["a"],
        "when": [2],
    }
    with pytest.raises(SchemaError, match=r"missing columns \['user'\]: .*'userId', 'movieId'"):
        read(tmp_path, content, columns={"user_id": "user"})
    with pytest.raises(SchemaError, match=r"column 'when': .*beside 'userId'.*when_raw") as error:
        read(tmp_path, content, columns={"when": "userId"})
    assert "columns = {when = 'userId', when_raw = 'when'}" in str(error.value)
    both = read(tmp_path, content, columns={"when": "userId", "when_raw": "when"})
    assert both["when"] == [1] and both["when_raw"] == [2]


def test_a_missing_column_is_named_by_the_key_in_the_message(files: Files) -> None:
    files.interactions["userId"] = files.interactions.pop("user_id")
    with pytest.raises(SchemaError, match=r"missing columns \['user_id'\]") as error:
        files.validate()
    (key,) = re.findall(r"`(columns = .*?)`", str(error.value))
    files.toml = files.toml.replace("[interactions]", f"[interactions]\n{key}")
    assert files.validate().interactions["user_id"].to_pylist() == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('query = "SELECT 1"', "it needs path or query, and not both"),
        ('database = "x.db"', "database needs a query"),
        ('encoding = "utf-99"', "no such encoding"),
        ('time = {zone = "Mars"}', "no such time zone"),
        ('time = {unit = "s", format = "%Y"}', "it takes neither format nor zone"),
        ('time = {unit = "h"}', "[interactions.time] unit: got 'h'"),
        ('time = {units = "h"}', "unknown key [interactions.time] units; did you mean unit?"),
        ('sep = ";"', "unknown key [interactions] sep; expected one of columns,"),
    ],
)
def test_keys_that_do_not_fit_are_refused_by_name(files: Files, key: str, message: str) -> None:
    files.toml = files.toml.replace("[interactions]", f"[interactions]\n{key}")
    with pytest.raises(SchemaError) as error:
        files.dataset()
    assert message in str(error.value)
