"""The rows of one input file: what each column becomes, and why a row cannot be used."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.files import replaced_file
from feast_fusion.parquet.column_types import is_text
from feast_fusion.times import TIMESTAMP, from_micros, to_micros
from intake.timestamps import parse_times


class Screening:
    """n rows of a file, the columns made from them, and the first defect found of each row.

    Attributes
    ----------
    table : the file as it is
    columns : made columns, each (n,), by name
    earliest_future : the earliest time after now that was met
    """

    def __init__(
        self, path: Path, name: str, required: Sequence[str], table: pa.Table | None = None
    ) -> None:
        """Reads the file at `path` unless `table` is given; `name` also names the rejects file.

        Raises
        ------
        SchemaError
            The file is missing or unreadable, or lacks one of the `required` columns.
        """
        self.path = path
        self.name = name
        self.table = _read(path) if table is None else table
        self.columns: dict[str, pa.Array] = {}
        self.earliest_future: datetime | None = None
        self._reasons = [""]
        self._reason = np.zeros(len(self.table), dtype=np.int16)
        missing = [column for column in required if column not in self.table.column_names]
        if missing:
            raise schema_error(
                f"{path}: missing columns {missing}",
                got=f"columns {self.table.column_names}",
                expected=f"also {missing}",
                remedy="Add or rename them, or correct what dataset.toml names.",
            )

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """(n,) whether the row has no defect so far."""
        usable: NDArray[np.bool_] = self._reason == 0
        return usable

    @property
    def counts(self) -> dict[str, int]:
        """Rejected rows per reason."""
        found = np.bincount(self._reason, minlength=len(self._reasons)).tolist()
        return {reason: n for reason, n in zip(self._reasons, found, strict=True) if reason and n}

    def reject(self, is_bad: NDArray[np.bool_], reason: str) -> None:
        """The rows of `is_bad` (n,) that had no defect so far have this one."""
        self._reasons.append(reason)
        self._reason[is_bad & self.is_usable] = len(self._reasons) - 1

    def reject_duplicates(self, identity: pl.DataFrame) -> None:
        """Of usable rows with equal `identity` (n rows), all but the first are duplicates."""
        usable = identity.with_row_index("").filter(pl.Series(self.is_usable))
        is_first = np.zeros(len(identity), dtype=bool)
        is_first[usable.unique(identity.columns, keep="first")[""].to_numpy()] = True
        self.reject(~is_first, "duplicate")

    def add_key(self, name: str) -> None:
        """The column as strings; rows where it is null or empty are rejected.

        Raises
        ------
        SchemaError
            The column is neither text nor whole numbers.
        """
        ids = self.columns[name] = self.as_strings(name)
        self.reject(np.asarray(ids.is_null()), f"null {name}")
        self.reject(np.asarray(pc.fill_null(pc.equal(ids, ""), False)), f"empty {name}")

    def as_strings(self, name: str) -> pa.Array:
        """The text or whole numbers of a column as strings.

        Raises
        ------
        SchemaError
            It is of another type.
        """
        column = _plain(self.table[name])
        kinds = (is_text, pa.types.is_integer, pa.types.is_null)
        if not any(is_kind(column.type) for is_kind in kinds):
            raise schema_error(
                f"{self.path}: column {name!r}",
                got=column.type,
                expected="strings or integers",
                remedy="Convert it to strings: fractions, for one, do not identify anything.",
            )
        return column.cast(pa.string()).combine_chunks()

    def add_time(self, name: str, now: datetime) -> None:
        """The column in microseconds and UTC; rows without a usable time up to `now` are rejected.

        Raises
        ------
        SchemaError
            The column is neither timestamps nor text.
        """
        parsed = parse_times(_plain(self.table[name]), name, f"{self.path}: column {name!r}")
        for reason, is_bad in parsed.defects.items():
            self.reject(is_bad, reason)
        is_future = parsed.time > to_micros(now)
        if is_future.any():
            earliest = from_micros(int(parsed.time[is_future].min()))
            self.earliest_future = min(earliest, self.earliest_future or earliest)
        self.reject(is_future, f"{name} in the future")
        self.columns[name] = pa.array(parsed.time).cast(TIMESTAMP)

    def usable(self, schema: pa.Schema) -> pa.Table:
        """The usable rows, in file order, as `schema` has them; made columns come first.

        Raises
        ------
        SchemaError
            No row is left, or a column cannot be cast.
        """
        if not self.is_usable.any():
            raise self._nothing_left()
        kept = pa.array(self.is_usable)
        columns = [self._cast(field.name, field.type).filter(kept) for field in schema]
        return pa.table(columns, schema=schema)

    def write_rejects(self, folder: Path) -> None:
        """All columns of the rejected rows, their `row` (from 0) and `reason`, in `folder`."""
        rows = np.flatnonzero(~self.is_usable)
        rejected = self.table.take(pa.array(rows))
        taken = {"row": "row_in_file", "reason": "reason_in_file"}
        rejected = rejected.rename_columns([taken.get(c, c) for c in rejected.column_names])
        reasons = pa.array(self._reasons, pa.string()).take(pa.array(self._reason[rows]))
        rejected = rejected.append_column("row", pa.array(rows)).append_column("reason", reasons)
        with replaced_file(folder / f"{self.name}.parquet") as building:
            pq.write_table(rejected, building, compression="zstd")

    def _cast(self, name: str, expected: pa.DataType) -> pa.Array | pa.ChunkedArray:
        if name in self.columns:
            return self.columns[name]
        column = _plain(self.table[name])
        try:
            return column.cast(expected)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise schema_error(
                f"{self.path}: column {name!r}",
                got=column.type,
                expected=expected,
                remedy=f"Convert it, or correct what dataset.toml says of it. ({error})",
            ) from error

    def _nothing_left(self) -> SchemaError:
        remedy = f"Each row and its reason is in rejects/{self.name}.parquet."
        if any(reason.endswith("without zone") for reason in self.counts):
            remedy = (
                "Write timestamps with their zone, such as with "
                f"frame['event_timestamp'].dt.tz_localize('UTC'). {remedy}"
            )
        return schema_error(
            f"{self.path}: no row is left",
            got=f"{len(self.table)} rows, rejected for {self.counts}",
            expected="at least one usable row",
            remedy=remedy,
        )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_encoded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_encoded else column


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise schema_error(
            f"{path}",
            got="no such file",
            expected="a Parquet file",
            remedy="Correct its path in dataset.toml, or make the file.",
        )
    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise schema_error(
            f"{path}",
            got=f"a file that cannot be read ({error})",
            expected="a whole Parquet file",
            remedy="It may have been cut off while it was written or copied: make it again.",
        ) from error
    repeated = sorted({c for c in table.column_names if table.column_names.count(c) > 1})
    if repeated:
        raise schema_error(
            f"{path}",
            got=f"more than one column named {repeated}",
            expected="distinct names",
            remedy="Rename or drop the others.",
        )
    return table
