"""A sink that is an Iceberg table: any process stages files, one commit makes them part of it."""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial

import polars as pl
import pyarrow as pa
from pyarrow import fs
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.staging import open_staged, write_staged
from feast_fusion.history.table_rows import Window
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.parquet.compaction import plan_compaction, write_together
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.parquet.parts import upload
from feast_fusion.tables.expiry import expire_table
from feast_fusion.tables.iceberg_source import source_of
from feast_fusion.tables.iceberg_table import TableName, data_files, filesystem_of, table_columns
from feast_fusion.tables.replacement import replace_files
from feast_fusion.tables.staged_files import staged_at, staged_location

_log = logging.getLogger(__name__)
_PROPERTIES = {
    # A commit beside ours may hold rows that ours has: we look before we try again.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
}


class IcebergSink(HistorySink):
    """A table of any catalogue that pyiceberg knows; processes of many machines write to it.

    Nobody waits for another: of two runs that made the same rows, the one that commits last
    finds that the table has changed, leaves out what the other one committed, and tries again.
    """

    def __init__(self, uri: str, schema: ViewSchema) -> None:
        self.uri, self.schema = uri, schema
        self._identity: tuple[str, ...] = (*schema.keys, *schema.ordering)
        self._known: set[str] = set()
        self._others: list[DataFile] = []
        self._run, self._n_places = uuid.uuid4().hex[:12], 0

    @property
    def what(self) -> str:
        """See `HistorySink`."""
        return f"Feature view {self.schema.view!r}, sink {self.uri}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `HistorySink`. Other runs may use the sink meanwhile."""
        self.ensure()
        self._look()
        yield

    def ensure(self) -> None:
        """See `HistorySink`."""
        name = TableName.of(self.uri)
        catalog, wanted = name.open_catalog(), self.schema.arrow
        if not catalog.table_exists(name.identifier):
            with suppress(NamespaceAlreadyExistsError):
                catalog.create_namespace(name.identifier.rpartition(".")[0])
            catalog.create_table_if_not_exists(name.identifier, wanted)
        table = name.load(self.what)
        gained = self.gained(table_columns(table))
        if not gained and _PROPERTIES.items() <= table.properties.items():
            return
        try:
            with table.transaction() as transaction:
                transaction.set_properties(_PROPERTIES)
                if gained:
                    with transaction.update_schema() as update:
                        update.union_by_name(wanted)
        except CommitFailedException:  # another process does the same
            self.ensure()
        else:
            if gained:
                self.warn_of_gained()

    def append(self, table: pa.Table) -> None:
        """See `HistorySink`."""
        self.commit([write_staged(self._place(), 0, table)])

    @contextmanager
    def staging(self) -> Iterator[str]:
        """See `HistorySink`. What a killed run left is removed by `feast-fusion tables expire`."""
        place = self._place()
        try:
            yield place
        finally:
            self._remove_uncommitted(place)

    def commit(self, files: Sequence[str]) -> None:
        """See `HistorySink`. Rows that another run committed meanwhile are left out.

        Files that the table has already are refused.
        """
        table = self._table
        while pending := self._lacking(files):
            locations = [staged_location(file) for file in pending]
            # Known before: of a commit whose answer is lost nobody can say that it failed.
            self._known.update(locations)
            try:
                table.add_files(locations)
                return
            except CommitFailedException:
                self._known.difference_update(locations)
                _log.warning("%s: another run wrote to it meanwhile; looking again", self.what)
                table = self._reload()

    @contextmanager
    def replacement(self) -> Iterator[HistorySink]:
        """See `HistorySink`.

        Raises
        ------
        StoreUnavailableError
            Another run wrote to the table meanwhile; nothing is replaced.
        """
        before = data_files(self._table, self.what)
        new = _Replacement(self.uri, self.schema)
        yield new
        replace_files(self._table, before, new.added, self.what)

    def compact(self) -> tuple[int, int]:
        """See `HistorySink`; StoreUnavailableError where another process writes meanwhile."""
        files = data_files(self._table, self.what)
        rows = self._source(self._table, files)
        groups = plan_compaction(rows.files)
        n_retired = sum(map(len, groups))
        with self.staging() as place:
            made = [f"{place}/shard-{number:010d}.parquet" for number in range(len(groups))]
            for file, group in zip(made, groups, strict=True):
                upload(*staged_at(file), partial(write_together, rows, group))
            locations = [staged_location(file) for file in made]
            self._known.update(locations)  # before, as in `commit`
            replace_files(self._table, files[len(files) - n_retired :], locations, self.what)
        return len(files), len(files) - n_retired + len(groups)

    def expire(self, before: datetime) -> int:
        """See `HistorySink`; snapshots from before are gone, the current one stays."""
        return expire_table(self._table, before, self.what)

    def rows(self) -> ParquetSource:
        """See `HistorySink`."""
        table = self._load()
        return self._source(table, data_files(table, self.what))

    def read_identities(self, columns: Sequence[str], window: Window | None) -> pl.DataFrame:
        """See `HistorySink`. By `columns` a row is known from now on."""
        self._identity = tuple(columns)
        self._look()
        return super().read_identities(columns, window)

    def _load(self) -> Table:
        return TableName.of(self.uri).load(self.what)

    def _look(self) -> None:
        """From here on, what others commit is new to this run."""
        self._table = self._load()
        self._known = {file.file_path for file in data_files(self._table, self.what)}
        self._others = []

    def _reload(self) -> Table:
        self._table = self._load()
        found = data_files(self._table, self.what)
        self._others = [file for file in found if file.file_path not in self._known]
        return self._table

    def _source(self, table: Table, files: list[DataFile]) -> ParquetSource:
        return source_of(table, files, self.what, times=self.schema.ordering)

    def _place(self) -> str:
        self._n_places += 1
        return f"{self.uri}/{self._run}-{self._n_places:06d}"

    def _lacking(self, files: Sequence[str]) -> list[str]:
        """Staged files of the rows of `files` that no other run has committed."""
        if not self._others:
            return list(files)
        others = self.identities_of(self._source(self._table, self._others), self._identity, None)
        found = []
        for file in files:
            rows = open_staged(file, self.what).read()
            keys = pl.DataFrame(pl.from_arrow(rows.select(self._identity))).with_row_index()
            new = keys.join(others, on=self._identity, how="anti", nulls_equal=True)
            if new.height == len(rows):
                found.append(file)
            elif new.height:
                kept = rows.take(pa.array(new["index"].sort().to_numpy()))
                place, _, name = file.rpartition("/")
                found.append(write_staged(place, int(name[len("shard-") :][:10]), kept))
        return found

    def _remove_uncommitted(self, place: str) -> None:
        kept = {filesystem_of(self._table.io, location)[1] for location in self._known}
        filesystem, folder = staged_at(f"{place}/")
        for info in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            if info.path not in kept:
                filesystem.delete_file(info.path)


class _Replacement(IcebergSink):
    """Holds on to what is committed to it, whose files are then the table's only ones."""

    def __init__(self, uri: str, schema: ViewSchema) -> None:
        super().__init__(uri, schema)
        self.added: list[str] = []
        self._table = self._load()

    def commit(self, files: Sequence[str]) -> None:
        self.added += map(staged_location, files)
        self._known.update(self.added)

    def rows(self) -> ParquetSource:
        return self._source(self._table, [])

    def _look(self) -> None:
        """Nothing else is known to an empty sink."""
