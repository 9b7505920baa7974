"""What is a person's and what only looks so: short ids, ids of items, numbers, parts of words."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from feast import ValueType

from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.parquet.seal import write_parquet
from forgetting.audit.needles import Needles
from forgetting.audit.table_search import search_columns, search_parquet

SHORT, LONG = Needles("7"), Needles("visitor-8c41f2")


@pytest.mark.parametrize("user_id", ["7", "客户3", "visitor-8c41f2"])
def test_an_id_is_found_in_every_form_of_a_user(user_id: str) -> None:
    needles = Needles(user_id)
    (key,) = encode_keys(["user_id"], [[user_id]], [ValueType.STRING], "films")
    assert needles.in_bytes(b"xx" + key) is not None
    for ascii_only in (True, False):
        text = json.dumps({"a": [{"user_id": user_id}]}, ensure_ascii=ascii_only)
        assert needles.in_bytes(text.encode()) is not None
        assert needles.in_value("", text)
    assert needles.in_value("user_id", user_id)
    assert needles.in_value("key", json.dumps(["e1", user_id, "f1", 1_700_000, 4.0, None]))
    (other,) = encode_keys(["user_id"], [[f"{user_id}0"]], [ValueType.STRING], "films")
    assert needles.in_bytes(other) is None


def test_a_short_id_is_no_number_no_item_and_no_part_of_a_word() -> None:
    (item,) = encode_keys(["item_id"], [["7"]], [ValueType.STRING], "films")
    for content in (b"7", b'{"epochs": 7}', b'"7"', item, b'{"user_id":"77"}', b"a 7 b"):
        assert SHORT.in_bytes(content) is None, content
    for name, value in (("item_id", "7"), ("genre", "7"), ("user_id", "17"), ("user_id", "7 7")):
        assert not SHORT.in_value(name, value)
    assert not SHORT.in_value("", json.dumps({"n_users": 7, "user": 7, "item_id": "7"}))


def test_an_id_that_is_also_an_items_counts_under_a_users_name_only() -> None:
    shared = Needles("product-7", is_shared=True)
    assert not shared.in_value("item_id", "product-7")
    assert shared.in_bytes(b"bought product-7 twice") is None
    assert shared.in_value("user_id", "product-7")
    assert Needles("product-7").in_bytes(b"bought product-7 twice") is not None


def test_a_telling_id_counts_as_a_word_wherever_it_stands() -> None:
    assert LONG.in_value("note", "5;visitor-8c41f2;f1")
    assert LONG.in_bytes(b"\x00\x01visitor-8c41f2\x00") is not None
    assert LONG.in_bytes(b"visitor-8c41f23") is None
    digits = Needles("1234567")
    assert digits.in_bytes(b"took 0.1234567 s at 1234567.5") is None
    assert digits.in_bytes(b"a,1234567,b") is not None


def test_texts_and_digests_are_found_and_columns_are_searched_to_their_ends() -> None:
    text, digest = "liked Heat; Film number 26. disliked Alien.", bytes(range(32))
    needles = Needles("7", [text], [digest])
    assert needles.in_bytes(b"\x00" + digest) is not None
    assert needles.in_value("", json.dumps({"text": json.dumps({"portrait": text})}))
    columns = {
        "n": pa.array([7, 7]),
        "deep": pa.array([[{"user": "8", "at": 1}], [{"user": "7", "at": 2}]]),
        "key": pa.array([b"x", digest]),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    assert search_columns(batch, needles) == "user"
    assert search_columns(batch.select(["n", "key"]), needles) == "key"
    assert search_columns(batch.slice(0, 1), needles) is None
    coded = pa.RecordBatch.from_pydict({"user_id": pa.array(["8", "7"]).dictionary_encode()})
    assert search_columns(coded, needles) == "user_id"


def test_ids_that_are_numbers_count_where_they_are_ids_of_users(tmp_path: Path) -> None:
    path = tmp_path / "rejects.parquet"
    write_parquet(path, pa.table({"row": [7, 8], "n_users": [7, 7], "user_id": [5, 7]}))
    assert search_parquet(path, SHORT) == "user_id"
    write_parquet(path, pa.table({"row": [7, 8], "n_users": [7, 7], "user_id": [5, 77]}))
    assert search_parquet(path, SHORT) is None
    assert SHORT.in_value("", json.dumps({"row": {"user_id": 7}}))
    assert SHORT.in_value("", json.dumps({"table": "users", "key": "7", "values": "{}"}))
