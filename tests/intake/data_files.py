"""The three files of a small data set, good until a test spoils one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.times import TIMESTAMP
from intake.dataset import Dataset
from intake.dataset_file import load_dataset
from intake.validation import ValidatedData, validate_dataset

Columns = dict[str, Any]

NOW = datetime(2024, 6, 1, tzinfo=UTC)
THEN = datetime(2024, 1, 1, tzinfo=UTC)
KNOWN = datetime(1900, 1, 1, tzinfo=UTC)  # items and users, before any event

TOML = """
name = "dirty"
[items]
path = "items.parquet"
title = "title"
text = "{title}. {genres}."
numeric = ["year"]
categorical = ["genres"]
[users]
path = "users.parquet"
numeric = ["age"]
[interactions]
path = "interactions.parquet"
explicit = true
positive = "value >= 4"
"""

IMPLICIT = TOML.replace('explicit = true\npositive = "value >= 4"\n', "")


def times(*when: datetime | None) -> pa.Array:
    return pa.array(when, TIMESTAMP)


def good_items() -> Columns:
    return {
        "item_id": ["a", "b", "c"],
        "event_timestamp": times(KNOWN, KNOWN, KNOWN),
        "title": ["A", "B", "C"],
        "year": [1990, None, 2000],
        "genres": [["x"], [], None],
    }


def good_users() -> Columns:
    return {"user_id": ["1", "2"], "event_timestamp": times(KNOWN, KNOWN), "age": [20, 30]}


def good_interactions() -> Columns:
    return {
        "user_id": ["1", "2", "3"],
        "item_id": ["a", "b", "c"],
        "event_timestamp": times(THEN, THEN, THEN),
        "value": [4.0, 3.5, 5.0],
    }


class Files:
    """The three files of a data set in a folder, good until a test spoils one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.toml = TOML
        self.items = good_items()
        self.users = good_users()
        self.interactions = good_interactions()

    def dataset(self) -> Dataset:
        for name in ("items", "users", "interactions"):
            pq.write_table(pa.table(getattr(self, name)), self.folder / f"{name}.parquet")
        path = self.folder / "dataset.toml"
        path.write_text(self.toml, encoding="utf-8")
        return load_dataset(path)

    def validate(self) -> ValidatedData:
        return validate_dataset(self.dataset(), self.folder / "rejects", now=NOW)

    def rejects(self, name: str) -> list[dict[str, Any]]:
        return pq.read_table(self.folder / "rejects" / f"{name}.parquet").to_pylist()
