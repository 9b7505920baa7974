"""Rows of a person in the history of views: folders of files, or Iceberg tables."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_fusion.history.folder_erasure import erase_rows
from forgetting.case import Case, Surroundings

_KEY = "user_id"


def erase(case: Case) -> int:
    """Write files anew without these people, and forget former files and snapshots; how many rows.

    Also of views that are declared no longer.
    """
    n_erased = sum(erase_rows(each, _KEY, case.is_theirs) for each in _folders(case.place))
    if case.workspace.tables is not None:
        from feast_fusion.tables.table_erasure import erase_table_rows, tables_of  # an extra

        uris = tables_of(case.workspace.tables)
        n_erased += sum(erase_table_rows(uri, _KEY, case.is_theirs) for uri in uris)
    return n_erased


def read(place: Surroundings, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a user, by view."""
    for folder in _folders(place):
        found = [pq.ParquetFile(path) for path in sorted(folder.glob("[!._]*.parquet"))]
        theirs = [file.read() for file in found if _KEY in file.schema_arrow.names]
        if theirs:
            table = pa.concat_tables(theirs, promote_options="permissive")
            yield folder.name, table.filter(pc.equal(table[_KEY], user_id))
    if place.workspace.tables is not None:
        from feast_fusion.tables.iceberg_source import open_table
        from feast_fusion.tables.table_erasure import tables_of  # an extra

        for uri in tables_of(place.workspace.tables):
            source = open_table(uri, uri)
            if source.has(_KEY):
                table = source.read()
                yield uri.rpartition(".")[2], table.filter(pc.equal(table[_KEY], user_id))


def _folders(place: Surroundings) -> list[Path]:
    sinks = place.workspace.sinks
    return sorted(path for path in sinks.glob("[!.]*") if path.is_dir())
