"""Rows of feature views into Redis, in Feast's layout: the newest wins, and is always whole."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import Field, ValueType, utils
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.redis import _versioned_fv_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.history.view_schema import ViewSchema, check_times, check_vectors
from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.online.codec.value_decoding import is_vector
from feast_fusion.online.codec.value_encoding import (
    encode_column,
    encode_timestamps,
    spread,
)
from feast_fusion.online.codec.vector_encoding import VECTOR_ENCODERS
from feast_fusion.online.feature_request import NO_ENTITY, join_keys_of, redis_key
from feast_fusion.online.options import OnlineStoreOptions
from feast_fusion.online.redis.newest_row import SCRIPT, NewestRow
from feast_fusion.online.redis.transport import Transport
from feast_fusion.online.refusals import RefusedRowsError

Row = tuple[EntityKeyProto, Mapping[str, ValueProto], datetime, datetime | None]

_BATCH_ROWS = 1_000
_BATCH_BYTES = 4 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_TIME = np.iinfo(np.int64).min  # what numpy calls NaT
_NULL = ValueProto()
_FLOAT_LISTS = (ValueType.FLOAT_LIST, ValueType.DOUBLE_LIST)
_FLOATS = {"float_list_val": "<f4", "double_list_val": "<f8"}


class RowWriter:
    """Writes through `transport` as a Feast `RepoConfig` says, in bounded batches.

    Several rows of one entity may be given in any order. Both methods return the number of written
    rows: with the guard, the rows that were newer than the row stored before them (fewer where a
    lost connection made a batch go twice). Options of the store:

    - `skip_dedup` writes without the guard;
    - `key_ttl_seconds` is the time after a write at which Redis drops the entity.
    """

    def __init__(self, transport: Transport, config: Any) -> None:
        options: OnlineStoreOptions = config.online_store
        self._transport = transport
        self._config = config
        self._encode_vectors = VECTOR_ENCODERS.get(options.vector_encoding)  # None: stock form
        self._row = NewestRow(guarded=not options.skip_dedup, ttl_s=options.key_ttl_seconds or 0)

    def write_table(self, view: Any, table: pa.Table) -> int:
        """Write the rows of `table`, which has the view's join keys, features and timestamps.

        Columns are named as the view names them; others are left out. A null created timestamp is
        the oldest; a null feature is stored as Feast's null.

        Raises
        ------
        SchemaError
            A column is missing or not of its type, a join key or event timestamp is null, or a
            vector has a wrong width or a value that is not finite. Earlier batches are written.
        StoreUnavailableError
            Redis cannot be reached or refused. Writing the same rows again completes them.
        """
        table = _stored_columns(view, table)
        each = _rows_at_once(table.nbytes // max(1, table.num_rows))
        batches = (table.slice(at, each).combine_chunks() for at in range(0, len(table), each))
        return sum(self._write_batch(view, batch) for batch in batches)

    def write_rows(self, view: Any, rows: Sequence[Row]) -> int:
        """Write rows as Feast's `online_write_batch` is given them; a naive time is UTC.

        A feature that a row does not have is stored as null, so that no older value stays beside
        the new ones.

        Raises
        ------
        RefusedRowsError
            A row has no event timestamp or no value of a join key; none is written.
        SchemaError, StoreUnavailableError
            As `write_table`.
        """
        _check_rows(view, rows)
        each = _rows_at_once(sum(value.ByteSize() for value in rows[0][1].values()) if rows else 0)
        batches = (rows[at : at + each] for at in range(0, len(rows), each))
        return sum(self._write_protos(view, batch) for batch in batches)

    def _write_batch(self, view: Any, batch: pa.Table) -> int:
        source, joins = view.batch_source, view.entity_columns
        schema = ViewSchema.of(view, [field.name for field in joins], batch.schema)
        check_vectors(batch, schema)
        check_times(batch, schema)
        micros = _micros(batch.column(source.timestamp_field))
        keys = encode_keys(
            [field.name for field in joins],
            [batch.column(field.name) for field in joins],
            [field.dtype.to_value_type() for field in joins],
            self._config.project,
        )
        created = source.created_timestamp_column
        made = _micros(batch.column(created)) if created else np.full(len(batch), _NO_TIME)
        columns = {field.name: self._column(view, field, batch) for field in view.features}
        return self._send(view, keys, micros, made, columns)

    def _column(self, view: Any, field: Field, batch: pa.Table) -> list[bytes]:
        column = batch.column(field.name).combine_chunks()
        if self._encode_vectors is None or not is_vector(field):
            where = f"Feature view {view.name!r}, column {field.name!r}"
            return encode_column(where, column, field.dtype.to_value_type())
        numbers = column.drop_null().flatten().to_numpy(zero_copy_only=False)
        known = self._encode_vectors(numbers.reshape(-1, field.vector_length))
        return spread(known, column.is_valid().to_numpy(zero_copy_only=False))

    def _write_protos(self, view: Any, rows: Sequence[Row]) -> int:
        # Feast gives rows of a view without entities a key that it does not read them by.
        has_entities = bool(join_keys_of(view))
        keys = [redis_key(key if has_entities else NO_ENTITY, self._config) for key, *_ in rows]
        declared = {field.name: field for field in view.features}
        columns = {
            name: [values.get(name, _NULL).SerializeToString() for _, values, _, _ in rows]
            for name in dict.fromkeys(chain(declared, *(values for _, values, _, _ in rows)))
        }
        for name, field in declared.items():
            if field.vector_index and field.dtype.to_value_type() in _FLOAT_LISTS:
                columns[name] = self._vectors(view, field, rows, columns[name])
        micros = np.array([_microseconds(at) for _, _, at, _ in rows], dtype=np.int64)
        made = np.array([_microseconds(at) for _, _, _, at in rows], dtype=np.int64)
        return self._send(view, keys, micros, made, columns)

    def _vectors(
        self, view: Any, field: Field, rows: Sequence[Row], stored: list[bytes]
    ) -> list[bytes]:
        """The vectors of one feature, checked, in the form they are to be stored in."""
        valid = np.array([bool(value) for value in stored])
        numbers = [
            _numbers(view, field, key, values[field.name], value)
            for (key, values, _, _), value in zip(rows, stored, strict=True)
            if value
        ]
        width = field.vector_length or (len(numbers[0]) if numbers else 0)
        for row, vector in zip(np.flatnonzero(valid).tolist(), numbers, strict=True):
            if len(vector) != width:
                got = f"a vector of width {len(vector)}"
                raise _refused(view, field, rows[row][0], got, f"width {width}")
        if not numbers:
            return stored
        matrix = np.stack(numbers)
        for row in np.flatnonzero(~np.isfinite(matrix).all(axis=1)).tolist():
            key = rows[int(np.flatnonzero(valid)[row])][0]
            raise _refused(view, field, key, "a value that is not finite", "finite values")
        if self._encode_vectors is None or not is_vector(field):
            return stored
        return spread(self._encode_vectors(matrix), valid)

    def _send(
        self,
        view: Any,
        keys: Sequence[bytes],
        micros: NDArray[np.int64],
        made: NDArray[np.int64],
        columns: Mapping[str, Sequence[bytes]],
    ) -> int:
        created = [
            None if absent else stamp
            for stamp, absent in zip(
                encode_timestamps(made), (made == _NO_TIME).tolist(), strict=True
            )
        ]
        stamps = encode_timestamps(micros)
        stored_name = _versioned_fv_name(view, self._config)
        commands = self._row.commands(stored_name, keys, stamps, created, columns)
        return sum(map(int, self._transport.write(commands, scripts=(SCRIPT,))))


def _check_rows(view: Any, rows: Sequence[Row]) -> None:
    names = join_keys_of(view)
    for number, (key, _, at, _) in enumerate(rows):
        null = [
            name
            for name, value in zip(key.join_keys, key.entity_values, strict=False)
            if name in names and value.WhichOneof("val") is None
        ]
        if at is None or pd.isna(at):
            null.append(view.batch_source.timestamp_field)
        if null:
            raise RefusedRowsError(
                f"Feature view {view.name!r}, column {null[0]!r}, row {number}: got null, expected "
                "a value. Correct the row and send all again: none of them was written."
            )


def _rows_at_once(row_bytes: int) -> int:
    return min(_BATCH_ROWS, max(1, _BATCH_BYTES // max(1, row_bytes)))


def _stored_columns(view: Any, table: pa.Table) -> pa.Table:
    """The columns that are written; a view without entities has a constant key."""
    source = view.batch_source
    keys = [field.name for field in view.entity_columns]
    if DUMMY_ENTITY_ID in keys and DUMMY_ENTITY_ID not in set(table.column_names):
        constant = pa.repeat(pa.scalar(DUMMY_ENTITY_VAL), len(table))
        table = table.append_column(DUMMY_ENTITY_ID, constant)
    names = [*keys, *(field.name for field in view.features)]
    names += filter(None, (source.timestamp_field, source.created_timestamp_column))
    present = set(table.column_names)
    missing = [name for name in names if name not in present]
    if missing:
        raise schema_error(
            f"Feature view {view.name!r}",
            got=f"rows with the columns {table.column_names}",
            expected=f"also {missing}",
            remedy="Add the columns to the rows, or correct the view's schema.",
        )
    return table.select(list(dict.fromkeys(names)))


def _micros(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Microseconds since 1970 of times in any unit; `_NO_TIME` for null."""
    times = column.to_numpy().astype("datetime64[us]")
    micros: NDArray[np.int64] = times.astype(np.int64)
    return micros


def _microseconds(time: datetime | None) -> int:
    if time is None or pd.isna(time):
        return int(_NO_TIME)
    return (utils.make_tzaware(time) - _EPOCH) // _MICROSECOND  # type: ignore[no-any-return]


def _numbers(
    view: Any, field: Field, key: EntityKeyProto, value: ValueProto, stored: bytes
) -> NDArray[np.floating[Any]]:
    """The numbers of one vector, seen in its serialized form: they are packed at its end."""
    kind = str(value.WhichOneof("val"))
    if kind not in _FLOATS:
        raise _refused(view, field, key, f"a {kind}", "a list of floats")
    size = len(getattr(value, kind).val) * np.dtype(_FLOATS[kind]).itemsize
    return np.frombuffer(stored[len(stored) - size :], dtype=_FLOATS[kind])


def _refused(view: Any, field: Field, key: EntityKeyProto, got: str, expected: str) -> SchemaError:
    values = map(feast_value_type_to_python_type, key.entity_values)
    entity = ", ".join(f"{k}={v}" for k, v in zip(key.join_keys, values, strict=True))
    return schema_error(
        f"Feature view {view.name!r}, column {field.name!r}, entity {entity}",
        got=got,
        expected=expected,
        remedy="Correct the rows; the rows of earlier batches are written.",
    )
