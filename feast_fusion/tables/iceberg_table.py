"""An Iceberg table by its name, and the data files that its current snapshot consists of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
from pyarrow import fs
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO, schema_to_pyarrow
from pyiceberg.manifest import DataFile, FileFormat, ManifestContent, ManifestEntry
from pyiceberg.table import Table

from feast_fusion.errors import StoreUnavailableError, schema_error
from feast_fusion.parquet.column_types import plain_type
from feast_fusion.parquet.location import ICEBERG

_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class TableName:
    """What `iceberg://CATALOG/NAMESPACE.TABLE` names, in pyiceberg's own configuration."""

    catalog: str
    identifier: str

    @classmethod
    def of(cls, uri: str) -> "TableName":
        """The two parts of `uri`.

        Raises
        ------
        SchemaError
            It has another form.
        """
        catalog, _, identifier = uri.removeprefix(ICEBERG).partition("/")
        if not catalog or "/" in identifier or not all(identifier.rpartition(".")):
            raise schema_error(
                "Iceberg table",
                got=uri,
                expected=f"{ICEBERG}CATALOG/NAMESPACE.TABLE",
                remedy="Correct the path of the source.",
            )
        return cls(catalog, identifier)

    def open_catalog(self) -> Catalog:
        """The catalogue; one per process.

        Raises
        ------
        SchemaError
            pyiceberg knows no catalogue of this name.
        """
        return _catalog(self.catalog)

    def load(self, what: str) -> Table:
        """The table as it is now.

        Raises
        ------
        StoreUnavailableError
            The catalogue has no such table.
        """
        try:
            return self.open_catalog().load_table(self.identifier)
        except NoSuchTableError:
            raise StoreUnavailableError(
                f"{what}: got no Iceberg table {self.identifier!r} in the catalogue "
                f"{self.catalog!r}, expected one. Write it first, or correct the path of the "
                "source."
            ) from None


@cache
def _catalog(name: str) -> Catalog:
    try:
        return load_catalog(name)
    except ValueError as error:
        raise schema_error(
            f"Iceberg catalogue {name!r}",
            got=str(error),
            expected="its URI in pyiceberg's configuration",
            remedy=f"Name it in ~/.pyiceberg.yaml, or by PYICEBERG_CATALOG__{name.upper()}__URI.",
        ) from error


def data_files(table: Table, what: str) -> list[DataFile]:
    """The files of the current snapshot, an earlier commit's first; of one commit by name.

    Raises
    ------
    SchemaError
        The table has deleted rows, or files that are not Parquet.
    """
    entries = sorted(
        _live_entries(table, what), key=lambda e: (e.sequence_number or 0, e.data_file.file_path)
    )
    return [entry.data_file for entry in entries]


def _live_entries(table: Table, what: str) -> Iterator[ManifestEntry]:
    snapshot = table.current_snapshot()
    for manifest in snapshot.manifests(table.io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            if manifest.content == ManifestContent.DELETES:
                raise schema_error(
                    f"{what}, Iceberg table {table.name()}",
                    got="a table with deleted rows (it has delete files)",
                    expected="data files all of whose rows count",
                    remedy="Rewrite it with the engine that deletes: CALL "
                    "system.rewrite_data_files with delete-file-threshold 1.",
                )
            if entry.data_file.file_format != FileFormat.PARQUET:
                raise schema_error(
                    f"{what}, Iceberg table {table.name()}",
                    got=f"{entry.data_file.file_format.name} files",
                    expected="Parquet files",
                    remedy="Rewrite it with write.format.default=parquet.",
                )
            yield entry


def table_columns(table: Table) -> pa.Schema:
    """The columns of the table in their plain types."""
    found = schema_to_pyarrow(table.schema(), include_field_ids=False)
    return pa.schema([(field.name, plain_type(field.type)) for field in found])


def require_same_names(table: Table, path: str, found: pa.Schema, what: str) -> None:
    """Refuse a file in which a column of the table has another name than today.

    Parameters
    ----------
    found : columns of the file as Parquet has them, with their field ids if it has any
    """
    ids = {field.name: field.field_id for field in table.schema().fields}
    names = {number: name for name, number in ids.items()}
    for name, number in _numbers(table, found).items():
        if names.get(number, name) != name or ids.get(name, number) != number:
            raise schema_error(
                f"{what}, Iceberg table {table.name()}, {path}",
                got=f"a file with a column {name!r}, which was renamed or replaced since",
                expected="columns named as the table names them",
                remedy="Rewrite the table's data files, or name them by the source's "
                "field_mapping in a copy.",
            )


def _numbers(table: Table, found: pa.Schema) -> Mapping[str, int]:
    """Field id of each column of a file: its own, or by the table's name mapping."""
    mapping = table.name_mapping()
    mapped = {
        name: field.field_id
        for field in (mapping.root if mapping else ())
        for name in field.names
        if field.field_id is not None
    }
    own = {f.name: int(f.metadata[_FIELD_ID]) for f in found if _FIELD_ID in (f.metadata or {})}
    return own or {name: mapped[name] for name in found.names if name in mapped}


def filesystem_of(io: FileIO, location: str) -> tuple[fs.FileSystem, str]:
    """The file system of a table's file, with the catalogue's credentials, and its path there."""
    arrow = io if isinstance(io, PyArrowFileIO) else PyArrowFileIO(io.properties)
    scheme, netloc, path = arrow.parse_location(location, arrow.properties)
    return arrow.fs_by_scheme(scheme, netloc), path
