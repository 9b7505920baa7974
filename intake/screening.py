"""The rows of one input file: what each column becomes, and why a row cannot be used."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.files import replaced_file
from feast_fusion.parquet.column_types import is_text
from feast_fusion.parquet.seal import write_parquet
from feast_fusion.times import TIMESTAMP, from_micros, to_micros
from intake.id_column import not_an_id
from intake.missing_columns import missing_columns
from intake.rejected_rows import examples_of
from intake.tables.source_table import RAGGED, UNREAD, SourceTable
from intake.tables.text_types import texts_without_number
from intake.time_readings import (
    ColumnOf,
    refuse_other_unit,
    remedy_unparsable,
    remedy_without_zone,
)
from intake.timestamps import NO_ZONE, UNPARSABLE, parse_times
from intake.tombstones import Tombstones

JOURNAL = "events"
FORGOTTEN = "forgotten user"
_EXAMPLE_CHARACTERS = 80
_WORD = re.compile(r"""[^\s,;|"']+""")


class Screening:
    """n rows of a table, the columns made from them, and the first defect found of each row.

    Attributes
    ----------
    where : file or query, for messages
    label : its last part, for sentences
    name : of the section, which also names the rejects file; "events" for the journal
    table : the rows as they were read
    columns : made columns, each (n,), by name
    examples : per reason, some values or rows that were rejected for it, and what was expected
    notes : what was found that rejects no row, a sentence each
    earliest_future : the earliest time after now that was met
    """

    def __init__(self, source: SourceTable, required: Sequence[str]) -> None:
        """Screens what was read.

        Raises
        ------
        SchemaError
            The table lacks one of the `required` columns.
        """
        self.where, self.label, self.name = source.where, source.label, source.section
        self.table = source.table
        self._time, self._unread = source.time, source.unread
        self.columns: dict[str, pa.Array] = {}
        self.examples: dict[str, str] = {}
        self.notes: list[str] = list(source.notes)
        self.earliest_future: datetime | None = None
        self._reasons = [""]
        self._remedies: dict[str, str] = {}
        self._reason = np.zeros(len(self.table), dtype=np.int16)
        missing = [column for column in required if column not in self.table.column_names]
        if missing:
            raise missing_columns(self.where, self.name, missing, self.table.column_names)
        if len(self._unread):
            line, text = (self._unread[name][0].as_py() for name in UNREAD.names[1:])
            self.examples[RAGGED] = f"such as {text[:_EXAMPLE_CHARACTERS]!r} in line {line}"

    @property
    def n_read(self) -> int:
        """Rows, and lines that are no rows."""
        return len(self.table) + len(self._unread)

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """(n,) whether the row has no defect so far."""
        usable: NDArray[np.bool_] = self._reason == 0
        return usable

    @property
    def counts(self) -> dict[str, int]:
        """Rejected rows per reason."""
        found = np.bincount(self._reason, minlength=len(self._reasons)).tolist()
        counts = {reason: n for reason, n in zip(self._reasons, found, strict=True) if reason and n}
        return counts | ({RAGGED: len(self._unread)} if len(self._unread) else {})

    def reject(
        self,
        is_bad: NDArray[np.bool_],
        reason: str,
        column: str | None = None,
        *,
        expected: str = "",
        remedy: str = "",
    ) -> None:
        """The rows of `is_bad` (n,) that had no defect so far have this one.

        Parameters
        ----------
        column : whose values are the examples of the reason; without one the rows are
        expected : what the value could have been, for people
        remedy : what to do where no row is left
        """
        rows = np.flatnonzero(is_bad & self.is_usable)
        if not len(rows):
            return
        self._reasons.append(reason)
        self._reason[rows] = len(self._reasons) - 1
        self._remedies[reason] = remedy
        if reason != FORGOTTEN:
            self.examples[reason] = examples_of(self.table, column, rows, expected)

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

    def leave_out(self, forgotten: Tombstones) -> None:
        """Reject the rows of users who were forgotten; they come into no file of rejects.

        Nor do lines that are no rows where one of these users is named.
        """
        self.reject(forgotten.select(self.columns["user_id"]), FORGOTTEN)
        texts = self._unread["unread_text"].to_pylist()
        kept = [not forgotten.any_in(_WORD.findall(text or "")) for text in texts]
        self._unread = self._unread.filter(pa.array(kept, pa.bool_()))

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
            raise not_an_id(column, name, f"{self.where}: column {name!r}")
        return column.cast(pa.string()).combine_chunks()

    def add_time(self, name: str, now: datetime) -> None:
        """The column in microseconds and UTC; rows without a usable time up to `now` are rejected.

        Raises
        ------
        SchemaError
            The column is neither timestamps nor text, or most times were read in another unit than
        they were counted in.
        """
        column = _plain(self.table[name])
        column_of = ColumnOf(name, f"{self.where}: column {name!r}", self.name)
        parsed = parse_times(column, column_of, now, self._time)
        if self.name != JOURNAL:  # a journal that raises would stop every prepare to come
            has_defect = np.any([*parsed.defects.values()], axis=0)
            refuse_other_unit(parsed.read, parsed.time[~has_defect], column_of, now)
        for reason, is_bad in parsed.defects.items():
            remedy = ""
            if is_bad.any() and reason == NO_ZONE.format(name):
                remedy = remedy_without_zone(column_of)
            elif is_bad.any() and reason == UNPARSABLE.format(name):
                remedy = remedy_unparsable(column, column_of, now)
            self.reject(is_bad, reason, name, remedy=remedy)
        is_future = parsed.time > to_micros(now)
        if is_future.any():
            earliest = from_micros(int(parsed.time[is_future].min()))
            self.earliest_future = min(earliest, self.earliest_future or earliest)
        self.reject(is_future, f"{name} in the future", name, expected=f"it is now {now:%F %T}")
        self.columns[name] = pa.array(parsed.time).cast(TIMESTAMP)

    def reasons(self) -> pa.Array:
        """(n,) why each row cannot be used, "" where it can so far."""
        return pa.array(self._reasons, pa.string()).take(pa.array(self._reason))

    def require_rows(self) -> None:
        """Nothing, unless no row is usable.

        Raises
        ------
        SchemaError
            With the counts of what was rejected.
        """
        if not self.is_usable.any():
            raise self._nothing_left()

    def usable(self, schema: pa.Schema) -> pa.Table:
        """The usable rows, in file order, as `schema` has them; made columns come first.

        Raises
        ------
        SchemaError
            No row is left, or a column cannot be cast.
        """
        self.require_rows()
        kept = pa.array(self.is_usable)
        columns = [self._cast(field.name, field.type).filter(kept) for field in schema]
        return pa.table(columns, schema=schema)

    def write_rejects(self, folder: Path) -> None:
        """All columns of the rejected rows, their `row` (from 0) and `reason`, in `folder`.

        Lines that are no rows follow, with the columns of `UNREAD`.
        """
        is_kept = np.array([reason not in ("", FORGOTTEN) for reason in self._reasons])
        rows = np.flatnonzero(is_kept[self._reason])
        rejected = self.table.take(pa.array(rows))
        taken = {"row": "row_in_file", "reason": "reason_in_file"}
        rejected = rejected.rename_columns([taken.get(c, c) for c in rejected.column_names])
        reasons = self.reasons().take(pa.array(rows))
        rejected = rejected.append_column("row", pa.array(rows)).append_column("reason", reasons)
        if len(self._unread):
            reasons = pa.array([RAGGED] * len(self._unread), pa.string())
            unread = self._unread.append_column("reason", reasons)
            rejected = pa.concat_tables([rejected, unread], promote_options="default")
        with replaced_file(folder / f"{self.name}.parquet") as building:
            write_parquet(building, rejected)

    def _cast(self, name: str, expected: pa.DataType) -> pa.Array | pa.ChunkedArray:
        if name in self.columns:
            return self.columns[name]
        column = _plain(self.table[name])
        try:
            return column.cast(expected)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found, remedy = pc.drop_null(column), f"Correct what dataset.toml says of it. ({error})"
            if is_text(column.type):
                found = texts_without_number(found)
                nothing = json.dumps(found[0].as_py(), ensure_ascii=False)
                remedy = (
                    "Name it as categorical in dataset.toml; or, where the text means that nothing "
                    f"is known, `null_values = [{nothing}]` in [{self.name}]."
                )
            raise schema_error(
                f"{self.where}: column {name!r}",
                got=f"{column.type}, such as {found[0].as_py()!r}" if len(found) else column.type,
                expected=f"{expected}, such as 4.5" if is_text(column.type) else expected,
                remedy=remedy,
            ) from error

    def _nothing_left(self) -> SchemaError:
        got = f"{self.n_read} rows"
        remedies = [f"Each row and its reason is in rejects/{self.name}.parquet."]
        if self.counts:
            commonest = max(self.counts, key=lambda reason: self.counts[reason])
            got += f", rejected for {self.counts}"
            if commonest in self.examples:
                got += f", {self.examples[commonest]}"
            remedies.insert(0, self._remedies.get(commonest, ""))
        elif self.name == "users":
            remedies = ["The table is optional: remove [users] from dataset.toml."]
        return schema_error(
            f"{self.where}: no row is left",
            got=got,
            expected="at least one usable row",
            remedy=" ".join(filter(None, remedies)),
        )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_encoded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_encoded else column
