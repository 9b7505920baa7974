"""A column that is missing: what is there, and a remedy that fits."""

from typing import Any

import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from tests.intake.data_files import TOML, Files

NUMBERS = 'numeric = ["year"]'


def without(table: dict[str, Any], old: str, new: str | None) -> None:
    values = table.pop(old)
    if new is not None:
        table[new] = values


@pytest.mark.parametrize(
    ("table", "old", "new", "remedy"),
    [
        ("items", "item_id", "itemId", '`columns = {item_id = "itemId"}` in [items]'),
        ("items", "item_id", "isbn", '`columns = {item_id = "isbn"}` in [items]'),
        ("items", "item_id", None, '`columns = {item_id = "its name in the file"}` in [items]'),
        ("users", "user_id", "Kunde", '`columns = {user_id = "Kunde"}` in [users]'),
        ("interactions", "event_timestamp", "order date", '{event_timestamp = "order date"}'),
    ],
)
def test_a_column_that_each_table_has_is_looked_for_under_another_name(
    files: Files, table: str, old: str, new: str | None, remedy: str
) -> None:
    without(getattr(files, table), old, new)
    with pytest.raises(SchemaError, match=f"missing columns \\['{old}'") as error:
        files.validate()
    assert f"Say which column it is: `columns = {{{old} = " in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(
    ("toml", "remedy"),
    [
        (TOML.replace(NUMBERS, 'numeric = ["yaer"]'), "Did you mean 'year'? Correct [items]"),
        (TOML.replace("{title}", "{Titel}"), "Did you mean 'title'?"),
        (TOML.replace(NUMBERS, 'numeric = ["pages"]'), "No column is called like 'pages': correct"),
        (TOML.replace(NUMBERS, 'numeric = ["yaer", "pages"]'), "No column is called like 'pages'"),
        (TOML + 'columns = {user_id = "User"}\n', "Did you mean 'user'?"),
    ],
)
def test_a_name_in_the_description_is_compared_with_the_columns(
    files: Files, toml: str, remedy: str
) -> None:
    files.toml = toml
    files.interactions |= {"user": pa.array(["1", "2", "3"])}
    with pytest.raises(SchemaError) as error:
        files.validate()
    assert remedy in str(error.value)
    assert '"item_id"' not in str(error.value), "no column is called pages and is the item_id"


def test_a_file_that_is_nearly_called_so_is_named(files: Files) -> None:
    files.toml = TOML.replace("items.parquet", "item.parquet")
    with pytest.raises(SchemaError, match=r"make the file\. Did you mean 'items\.parquet'\?"):
        files.validate()
