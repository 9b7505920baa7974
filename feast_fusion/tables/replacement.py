"""Files of an Iceberg table exchanged for others in one commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import parquet_files_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, TableProperties

from feast_fusion.errors import StoreUnavailableError


def replace_files(
    table: Table, before: Sequence[DataFile], locations: Sequence[str], what: str
) -> None:
    """Make the Parquet files at `locations` part of `table` in the place of `before`.

    Raises
    ------
    StoreUnavailableError
        Another process wrote to the table since it was loaded; nothing was changed.
    """
    if not before and not locations:
        return
    added = parquet_files_to_data_files(table.io, table.metadata, iter(locations))
    with alone(what), table.transaction() as transaction:
        if table.name_mapping() is None:  # as `add_files`, whose files have no field ids either
            mapping = table.schema().name_mapping.model_dump_json()
            transaction.set_properties({TableProperties.DEFAULT_NAME_MAPPING: mapping})
        with transaction.update_snapshot().overwrite() as snapshot:
            for file in before:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Turns a commit that came too late into an error that says what to do."""
    try:
        yield
    except CommitFailedException as error:
        raise StoreUnavailableError(
            f"{what}: got another process that wrote to it meanwhile, expected none. Nothing was "
            "changed: run the same command again."
        ) from error
