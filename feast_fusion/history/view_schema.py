"""The columns a feature view stores, and the check that rows have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.feature_view import DUMMY_ENTITY_ID

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.parquet.column_types import is_list, to_microseconds
from feast_fusion.parquet.declared_types import as_declared, declared_type, view_types


@dataclass(frozen=True)
class ViewSchema:
    """Stored columns of one view: join keys, features as declared, event timestamp, created.

    Parameters
    ----------
    vectors : vector feature -> declared width; 0 where none is declared
    """

    view: str
    keys: tuple[str, ...]
    timestamp: str
    created: str | None
    arrow: pa.Schema
    vectors: dict[str, int]

    @classmethod
    def of(cls, view: Any, keys: Sequence[str], arrow: pa.Schema) -> "ViewSchema":
        """The schema of a view whose columns have the types of `arrow`."""
        return cls(
            view=view.name,
            keys=tuple(keys),
            timestamp=view.batch_source.timestamp_field,
            created=view.batch_source.created_timestamp_column or None,
            arrow=arrow,
            vectors={f.name: f.vector_length or 0 for f in view.features if f.vector_index},
        )

    @property
    def ordering(self) -> tuple[str, ...]:
        """Columns that decide which of two rows of one entity is newer, the strongest first."""
        return (self.timestamp, self.created) if self.created else (self.timestamp,)

    def types(self, columns: Sequence[str]) -> pa.Schema:
        """The part of the schema that has `columns`, in their order."""
        return pa.schema([self.arrow.field(name) for name in columns])


def view_schema(view: Any) -> ViewSchema:
    """The schema of `view` (any Feast feature view with a batch source), in Feast's own types.

    Raises
    ------
    SchemaError
        The batch source (a sink, for a derived view) names no timestamp field.
    """
    source = view.batch_source
    if not source.timestamp_field:
        raise schema_error(
            f"Feature view {view.name!r}, source {source.name!r}",
            got="no timestamp_field",
            expected="the name of the event timestamp column",
            remedy="Declare timestamp_field on the source (for a derived view, on sink_source).",
        )
    keys = [f.name for f in view.entity_columns if f.name != DUMMY_ENTITY_ID]
    return ViewSchema.of(view, keys, view_types(view))


def declared_features(table: pa.Table, view: Any, what: str) -> pa.Table:
    """`table` with the features of `view` as it declares them.

    Raises
    ------
    SchemaError
        A column cannot hold what its feature declares, or a list has a null that Feast cannot
        store; the message names `what`.
    """
    for field in view.features:
        column = table.column(field.name)
        target = declared_type(field, column.type, what)
        made = as_declared(column, target, f"{what}, column {field.name!r}")
        if is_list(target) and pc.list_flatten(made).null_count:
            raise schema_error(
                f"{what}, column {field.name!r}",
                got="a null in a list",
                expected=f"lists that Feast can store as {field.dtype}",
                remedy="Leave such elements out, or write a value that stands for them.",
            )
        table = table.set_column(table.column_names.index(field.name), field.name, made)
    return table


def conform(frame: pd.DataFrame, schema: ViewSchema) -> pa.Table:
    """`frame` with exactly the columns and types of `schema`; other columns are left out.

    Null rule: null scalars, lists and vectors are kept; the event timestamp may not be null.
    Times are read as those of a source are (`to_microseconds`).

    Raises
    ------
    SchemaError
        A column is missing or cannot be cast, a vector has a wrong width or a value that is not
        finite. The message names the view, the column and the first offending key.
    """
    missing = [name for name in schema.arrow.names if name not in frame.columns]
    if missing:
        raise schema_error(
            f"Feature view {schema.view!r}",
            got=f"columns {[str(name) for name in frame.columns]} from its transformation",
            expected=f"also {missing}",
            remedy="Return these columns too, or correct the view's schema.",
        )
    arrays = [_array(frame[field.name], field, frame, schema) for field in schema.arrow]
    table = pa.Table.from_arrays(arrays, schema=schema.arrow)
    check_times(table, schema)
    check_vectors(table, schema)
    return table


def check_times(table: pa.Table, schema: ViewSchema) -> None:
    """Refuse rows without an event timestamp."""
    timestamps = table.column(schema.timestamp)
    if timestamps.null_count:
        row = int(np.flatnonzero(timestamps.is_null().to_numpy())[0])
        raise _refused(schema, schema.timestamp, table, row, "null", "a timestamp")


def check_vectors(table: pa.Table, schema: ViewSchema) -> None:
    """Refuse vectors of a wrong width or with NaN, infinite or null values; null vectors pass."""
    for name, declared in schema.vectors.items():
        column = table.column(name)
        widths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()  # (n,), -1 = null
        present = widths[widths >= 0]
        if not len(present):
            continue
        width = declared or int(present[0])
        wrong = np.flatnonzero((widths >= 0) & (widths != width))
        if len(wrong):
            row = int(wrong[0])
            got = f"a vector of width {widths[row]}"
            raise _refused(schema, name, table, row, got, f"width {width}")
        values = pc.list_flatten(column).to_numpy(zero_copy_only=False)  # (n_present * width,)
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float64, copy=False)))
        if len(bad):
            row = int(np.flatnonzero(widths >= 0)[bad[0] // width])
            got = f"a vector with the value {values[bad[0]]}"
            raise _refused(schema, name, table, row, got, "finite values")


def python_frame(table: pa.Table) -> pd.DataFrame:
    """`table` as a transformation receives it.

    Null is None, in float columns NaN; an integer column with nulls keeps its integers (pandas
    would make them floats, so a value would depend on its batch).
    """
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    return frame


def _array(
    column: "pd.Series[Any] | pd.DataFrame",
    field: pa.Field,
    frame: pd.DataFrame,
    schema: ViewSchema,
) -> pa.Array:
    if isinstance(column, pd.DataFrame):
        raise schema_error(
            f"Feature view {schema.view!r}, column {field.name!r}",
            got=f"{column.shape[1]} columns of this name from its transformation",
            expected="one",
            remedy="Return each column once.",
        )
    try:
        if field.name in schema.ordering:
            what = f"Feature view {schema.view!r}, column {field.name!r}"
            return to_microseconds(_inferred(column, field.type), "up", what)
        return _cast(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        row = _first_that_fails(column, field.type)
        value = repr(column.iloc[row])[:80]
        raise _refused(
            schema, field.name, frame, row, f"{value} ({error})", str(field.type)
        ) from error


def _cast(column: "pd.Series[Any]", dtype: pa.DataType) -> pa.Array:
    return _inferred(column, dtype).cast(dtype, safe=not pa.types.is_timestamp(dtype))


def _inferred(column: "pd.Series[Any]", dtype: pa.DataType) -> pa.Array:
    """The values in the type they have, to be cast to `dtype` after.

    A direct conversion would cut 1.5 to the integer 1.
    """
    if pa.types.is_nested(dtype):
        # NaN inside a list is a value, while NaN in place of a list is a missing list.
        values = [None if value is None or value is pd.NA or _is_nan(value) else value
                  for value in column]  # fmt: skip
        found = pa.array(values) if pa.types.is_list(dtype) else pa.array(values, dtype)
    else:
        found = pa.array(column, from_pandas=True)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value


def _first_that_fails(column: "pd.Series[Any]", dtype: pa.DataType) -> int:
    for row in range(len(column)):
        try:
            _cast(column.iloc[row : row + 1], dtype)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            return row
    return 0  # each value alone is fine: they are of different types


def _refused(
    schema: ViewSchema,
    column: str,
    rows: pa.Table | pd.DataFrame,
    row: int,
    got: str,
    expected: str,
) -> SchemaError:
    first = (
        rows[row : row + 1] if isinstance(rows, pd.DataFrame) else python_frame(rows.slice(row, 1))
    )
    names = [name for name in (*schema.keys, schema.timestamp) if name in first]
    key = ", ".join(f"{name}={first[name].iloc[0]!s}" for name in names)
    return schema_error(
        f"Feature view {schema.view!r}, column {column!r}, first at {key}",
        got=got,
        expected=expected,
        remedy="Correct the rows or what computes them; rows before this batch are kept.",
    )
