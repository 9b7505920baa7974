"""The Arrow schemas of prepared items and users: the data set decides which columns they have."""

import pyarrow as pa

from feast_fusion.times import TIMESTAMP
from intake.dataset import Dataset
from intake.versioned_tables import Items, Users


def item_profile_schema(dataset: Dataset, source: pa.Schema) -> pa.Schema:
    """Schema of prepared items: keys, times, then title, text, numeric and categorical columns.

    Last come the columns of availability.
    """
    items = dataset.items
    schema = _profile_schema("item_id", items, source)
    for name in items.availability:
        schema = schema.append(pa.field(name, pa.bool_() if name == items.hidden else TIMESTAMP))
    return schema


def user_profile_schema(dataset: Dataset, source: pa.Schema) -> pa.Schema:
    """Schema of prepared users: keys, times, then numeric and categorical columns."""
    if dataset.users is None:
        raise ValueError("the data set has no [users]")
    return _profile_schema("user_id", dataset.users, source)


def _profile_schema(key: str, section: Items | Users, source: pa.Schema) -> pa.Schema:
    fields = [(key, pa.string()), ("event_timestamp", TIMESTAMP)]
    if "created" in source.names:
        fields.append(("created", TIMESTAMP))
    # a text template may name the key or a time, which are there already
    features = [name for name in section.used_columns if name not in dict(fields)]
    types = (_column_type(source.field(name).type, name in section.numeric) for name in features)
    return pa.schema([*fields, *zip(features, types, strict=True)])


def _column_type(found: pa.DataType, is_numeric: bool) -> pa.DataType:
    """The one type a profile column is stored in: int64, float64, string or a list of strings."""
    if pa.types.is_integer(found):
        return pa.int64()
    if is_numeric or pa.types.is_floating(found):
        return pa.float64()
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        return pa.list_(pa.string())
    return pa.string()
