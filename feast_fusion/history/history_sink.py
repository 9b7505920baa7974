"""The offline sink of a view: rows that are only ever added to, in the order they were written."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

import polars as pl
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.history.row_keys import read_keys
from feast_fusion.history.table_rows import Window
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.parquet.column_types import plain_type
from feast_fusion.parquet.parquet_source import POSITION, ParquetSource

_log = logging.getLogger(__name__)


class HistorySink(ABC):
    """Where the rows of one view accumulate. A crash leaves a whole batch or none of it.

    Each `append` is one new file; no file is ever rewritten.
    Files that others `stage` become part of it by one `commit`.
    A `replacement` takes the place of all rows.

    A feature that the view gained is null in the rows that are there. They count as not finished,
    so a run over their window transforms them again, and what it adds is newer than they are.
    """

    schema: ViewSchema

    @property
    @abstractmethod
    def what(self) -> str:
        """How messages name it."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Use of the sink for one run, which finds it with the columns of the view."""

    @abstractmethod
    def ensure(self) -> None:
        """Create the sink with its schema and no rows, or give one that exists its new features.

        Raises
        ------
        SchemaError
            What is there is no sink, or has other keys or types.
        """

    @abstractmethod
    def append(self, table: pa.Table) -> None:
        """Add `table` (of the sink's schema) as one new file. Call it while `locked`."""

    @abstractmethod
    def staging(self) -> AbstractContextManager[str]:
        """A place for files that are to be committed together. Call it while `locked`.

        Any process that reaches the file system of the sink may `write_staged` there. What is not
        committed when the block ends is removed.
        """

    @abstractmethod
    def commit(self, files: Sequence[str]) -> None:
        """Add staged files, in this order behind the rows that are there."""

    @abstractmethod
    def replacement(self) -> AbstractContextManager["HistorySink"]:
        """An empty sink that takes the place of this one when the block ends without an error.

        Call it while `locked`. Until then readers have the old rows; a killed run leaves them.
        """

    @abstractmethod
    def compact(self) -> tuple[int, int]:
        """Make few files of many, with the same rows in the same order; how many were and are.

        Call it while `locked`. Who has opened the old files can read them until they `expire`.
        """

    @abstractmethod
    def expire(self, before: datetime) -> int:
        """Remove files that no reader needs who came after `before`; how many.

        Call it while `locked`.
        """

    @abstractmethod
    def rows(self) -> ParquetSource:
        """All rows, by position in the order they were written."""

    def read_identities(self, columns: Sequence[str], window: Window | None) -> pl.DataFrame:
        """`columns` of the rows in `window` that have every feature of the view; None is all.

        Row groups whose times are all outside are not read.
        """
        return self.identities_of(self.rows(), columns, window)

    def identities_of(
        self, rows: ParquetSource, columns: Sequence[str], window: Window | None
    ) -> pl.DataFrame:
        """As `read_identities`, of some of the files."""
        wanted = set(self.schema.arrow.names)
        complete = tuple(file for file in rows.files if wanted <= set(file.schema.names))
        types = self.schema.types(columns)
        finished = read_keys(replace(rows, files=complete), types, self.schema.timestamp, window)
        return finished.drop(POSITION)

    def gained(self, found: pa.Schema) -> list[str]:
        """Features of the view that the columns `found` lack.

        Raises
        ------
        SchemaError
            Keys or types are others than the view's.
        """
        wanted = self.schema.arrow
        types = {field.name: plain_type(field.type) for field in found}
        gained = [name for name in wanted.names if name not in types]
        identity = {*self.schema.keys, *self.schema.ordering}
        is_other = any(
            types.get(field.name, plain_type(field.type)) != plain_type(field.type)
            for field in wanted
        )
        if is_other or identity & set(gained):
            raise schema_error(
                self.what,
                got=_columns(found),
                expected=_columns(wanted),
                remedy="A sink keeps its keys and types: give the view a new name and sink path, "
                "or remove what is there and materialize again.",
            )
        return gained

    def warn_of_gained(self) -> None:
        """Say what becomes of the rows that are there."""
        _log.warning(
            "%s: a feature that the view gained is null in the rows that are there. "
            "Materialize their window again to fill it.",
            self.what,
        )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
